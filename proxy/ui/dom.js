/** Building the document. Nothing here reads HTML: what somebody has said becomes text nodes and nothing else. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: "div.row.open" names its tag and classes. Attributes, if there are any, come first: those that are null or
 * false are left out, functions are listeners. Children are nodes, texts, lists of them, or nothing.
 */
export function h(name, ...children) {
	const [tag, ...classes] = name.split(".");
	return fill(document.createElement(tag), classes, children);
}

/** The same for SVG. */
export function svg(name, ...children) {
	const [tag, ...classes] = name.split(".");
	return fill(document.createElementNS(SVG, tag), classes, children);
}

function fill(element, classes, children) {
	if (classes.length) element.classList.add(...classes);
	const attributes = children[0]?.constructor === Object ? children.shift() : {};
	for (const [key, value] of Object.entries(attributes)) {
		if (value === null || value === undefined || value === false) continue;
		if (key === "class") element.classList.add(...value.split(" ").filter(Boolean));
		else if (typeof value === "function") element.addEventListener(key.slice(2), value);
		else if (key === "value") element.value = value;
		else element.setAttribute(key, value === true ? "" : value);
	}
	append(element, children);
	return element;
}

/** Appends nodes and texts, however deep they are in lists. */
export function append(element, children) {
	for (const child of children) {
		if (Array.isArray(child)) append(element, child);
		else if (child !== null && child !== undefined && child !== false) element.append(child);
	}
}

/** Puts *children* in the place of all that *element* has. */
export function replace(element, ...children) {
	element.replaceChildren();
	append(element, children);
	return element;
}

// What shows nothing by itself but changes how the rest looks or reads: control characters, overrides of the
// direction, invisible letters, halves of surrogate pairs. Joiners stay: emoji and Persian are written with them.
const UNSEEN =
	/(?:[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e007f}]|\r(?!\n)|\p{Cs}|[\u{e0100}-\u{e01ef}]{2})+/gu;

/**
 * *text* as nodes, isolated from the direction of what stands around it. What cannot be seen is spelt out; *ranges*, in
 * order and without overlap, are marked.
 */
export function shown(text, ranges = []) {
	const parts = document.createDocumentFragment();
	let at = 0;
	for (const [start, end] of ranges) {
		spell(parts, text.slice(at, start));
		const mark = document.createElement("mark");
		spell(mark, text.slice(start, end));
		parts.append(mark);
		at = end;
	}
	spell(parts, text.slice(at));
	return parts;
}

function spell(parent, text) {
	let at = 0;
	for (const found of text.matchAll(UNSEEN)) {
		if (found.index > at) parent.append(text.slice(at, found.index));
		const codes = Array.from(found[0], c => "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0"));
		const label = codes.length > 4 ? `${codes.slice(0, 3).join(" ")} … ${codes.length} in all` : codes.join(" ");
		parent.append(h("span.unseen", { title: "Characters that cannot be seen" }, label));
		at = found.index + found[0].length;
	}
	if (at < text.length) parent.append(text.slice(at));
}

/** An id or a name, which may be in any script and must not turn its surroundings around. */
export function bdi(text, classes = "") {
	const element = h("bdi", { class: classes || null });
	element.append(shown(String(text)));
	return element;
}

/** The first *length* characters, without cutting one in two. */
export function cut(text, length) {
	if (text.length <= length) return text;
	const end = /[\ud800-\udbff]/.test(text[length - 1]) ? length - 1 : length;
	return text.slice(0, end);
}

const PATHS = {
	users: "M8 8a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM3 13.5c.4-2.6 2.4-4 5-4s4.6 1.4 5 4",
	live: "M1.5 8h3l2-5 3 10 2-5h3",
	charts: "M2.5 2.5v11h11M5.5 10.5v-3M8.5 10.5v-6M11.5 10.5v-4.5",
	journal: "M2.5 9.5h3l1 2h3l1-2h3M2.5 9.5l2-6.5h7l2 6.5v4h-11z",
	search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM10.3 10.3l3.2 3.2",
	edit: "M3 13l.7-3 7-7 2.3 2.3-7 7ZM9.5 4.2l2.3 2.3",
	erase: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9M7 7.5v3.5M9 7.5v3.5",
	undo: "M5.5 3l-3 3 3 3M2.5 6h6.5a4 4 0 0 1 0 8h-3",
	copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
	download: "M8 2.5v7.5M5 7.5l3 3 3-3M2.5 13.5h11",
	plus: "M8 3v10M3 8h10",
	close: "M4 4l8 8M12 4l-8 8",
	sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6ZM8 1.5v1.5M8 13v1.5M1.5 8h1.5M13 8h1.5M3.4 3.4l1 1M11.6 11.6l1 1M3.4 12.6l1-1M11.6 4.4l1-1",
	moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5Z",
	keys: "M1.5 4h13v8h-13zM4 6.5h.010M6.7 6.5h.010M9.3 6.5h.010M12 6.5h.010M4.5 9.5h7",
	pause: "M5.5 3.5v9M10.5 3.5v9",
	play: "M5 3l8 5-8 5z",
	lock: "M4 7.5h8v6h-8zM5.5 7.5v-2a2.5 2.5 0 0 1 5 0v2",
	alert: "M8 2l6.5 11.5h-13zM8 6.5v3.5M8 11.8h.010",
	chain: "M8 2.5v3M8 10.5v3M8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
	filter: "M2 4h12M4.5 8h7M6.5 12h3",
	refresh: "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
	table: "M2.5 3h11v10h-11zM2.5 6.5h11M6.5 6.5v6.5",
	timeline: "M4 2.5v11M4 4.5h0M7 4.5h6.5M7 8h6.5M7 11.5h4",
	chevron: "M6 3.5l4.5 4.5-4.5 4.5",
};

/** A drawing of 16 pixels in the colour of the text around it. It says nothing to who does not see it. */
export function icon(name) {
	return svg("svg.icon", { viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** A button: *icon* and *label*, or the icon alone with the label for who points at it or hears it. */
export function button(label, onclick, { name = null, kind = "", only = false, ...more } = {}) {
	return h(
		"button",
		{
			type: "button",
			class: `${kind}${only ? " only" : ""}`.trim() || null,
			onclick,
			title: only ? label : null,
			"aria-label": only ? label : null,
			...more,
		},
		name && icon(name),
		!only && h("span", label),
	);
}

/** The search of a view, which "/" leads to. */
export function searchBox(label, placeholder, more) {
	return h("input", {
		type: "search",
		id: "search",
		placeholder,
		"aria-label": label,
		autocomplete: "off",
		spellcheck: "false",
		dir: "auto",
		...more,
	});
}

/** Names and what they stand for; rows that are nothing are left out. */
export function facts(...rows) {
	return h(
		"dl.facts",
		rows.filter(Boolean).map(([name, value]) => [h("dt", name), h("dd", value)]),
	);
}

/** What this browser keeps for the page, as long as it lets it. */
export const setting = {
	get: name => {
		try {
			return localStorage.getItem(`memory-proxy.${name}`);
		} catch {
			return null;
		}
	},
	set: (name, value) => {
		try {
			localStorage.setItem(`memory-proxy.${name}`, value);
		} catch {
			// It holds until the page is left.
		}
	},
};

/** A choice of one among *options*, labels by value or [value, label] pairs; *onchange* hears which. */
export function select(label, options, onchange, value = "") {
	return h(
		"select",
		{ "aria-label": label, onchange: event => onchange(event.target.value) },
		(Array.isArray(options) ? options : Object.entries(options)).map(([key, text]) =>
			h("option", { value: key, selected: key === value }, text),
		),
	);
}

/** A choice of one among few, all in sight. *options*: [value, label, icon]. */
export function segmented(label, options, value, onchange) {
	return h(
		"div.segmented",
		{ role: "group", "aria-label": label },
		options.map(([key, text, name]) =>
			button(text, () => onchange(key), { name, only: Boolean(name), "aria-pressed": String(key === value) }),
		),
	);
}
