/** The frame around the views: where one is, what the proxy is like, keys, colours, and the token. */

import { Failure, access, readAccess, readReadiness, token, watch } from "./api.js";
import { bdi, facts, h, icon, replace, setting } from "./dom.js";
import { number } from "./format.js";
import { parse } from "./router.js";
import { dialog, failed, loading } from "./talk.js";
import { ChartsView } from "./views/charts.js";
import { JournalView } from "./views/journal.js";
import { LiveView } from "./views/live.js";
import { UserView } from "./views/user.js";
import { UsersView } from "./views/users.js";

const VIEWS = { users: UsersView, user: UserView, live: LiveView, charts: ChartsView, journal: JournalView };
const POLL_MS = 15_000;
const AWAY_POLL_MS = 3_000;

const main = document.getElementById("main");
let view = null;
let shown = null; // the name of the view

/** The token from the address, as a link may bring it: it does not stay there. */
function takeToken() {
	const found = /^#token=(.*)$/s.exec(location.hash);
	if (!found) return;
	try {
		token.set(decodeURIComponent(found[1]));
	} catch {
		token.set(found[1]);
	}
	history.replaceState(null, "", location.pathname + location.search);
}

async function enter() {
	leave();
	replace(main, loading());
	try {
		await readAccess();
	} catch (failure) {
		if (failure.status === 401 || failure.status === 429) askForToken(failure);
		else if (failure instanceof Failure) refuse(failure);
		else throw failure;
		return;
	}
	document.getElementById("read-only").hidden = !access.readOnly;
	document.getElementById("version").textContent = access.version;
	route(true);
	poll();
}

function leave() {
	view?.unmount();
	view = null;
	shown = null;
}

function refuse(failure) {
	if (failure.status === 403) tell("Not from here", failure.message);
	else replace(main, failed(failure, enter));
}

/** Something in the place of all views. */
function tell(title, ...more) {
	replace(
		main,
		h(
			"div.empty",
			h("h1", title),
			more.map(one => h("p", one)),
		),
	);
}

function askForToken(failure) {
	const box = h("input", { type: "password", id: "token", autocomplete: "off", "aria-describedby": "token-said" });
	const had = Boolean(token.get());
	const said =
		failure.status === 429
			? `${failure.message} Try again in ${number(failure.retryAfter ?? 60)} seconds.`
			: had
				? "This is not the token."
				: "";
	if (failure.status === 429) box.value = token.get() ?? "";
	token.set(null);
	replace(
		main,
		h(
			"form.token",
			{
				onsubmit: event => {
					event.preventDefault();
					if (!box.value.trim()) return box.focus();
					token.set(box.value.trim());
					enter();
				},
			},
			icon("lock"),
			h("h1", { tabindex: "-1" }, "Token"),
			h(
				"p",
				"This proxy wants its ",
				h("code", "admin.token"),
				", or ",
				h("code", "admin.read_token"),
				" to look only. It is kept until this tab is closed.",
			),
			h("label", { for: "token" }, "Token"),
			box,
			h("p.bad", { id: "token-said", role: "alert" }, said),
			h("button.primary", { type: "submit" }, "Open"),
		),
	);
	document.title = "Token · memory-proxy";
	box.focus();
}

function route(first = false) {
	const found = parse(location.hash);
	if (!found) {
		leave();
		tell("There is no such page", "The address leads nowhere.", h("a", { href: "#/users" }, "To the users"));
		mark(null);
		return;
	}
	mark(found.view);
	if (view && shown === found.view) view.update(found);
	else {
		leave();
		view = new VIEWS[found.view](found);
		shown = found.view;
		replace(main, view.element);
	}
	document.title = `${view.title} · memory-proxy`;
	const at = `${found.view} ${found.scope?.user ?? ""} ${found.tab ?? ""}`;
	// Who came by a link or a key goes on from the heading; who types somewhere is left alone.
	if (!first && at !== route.at && !main.contains(document.activeElement)) view.heading.focus({ preventScroll: true });
	route.at = at;
}

function mark(name) {
	for (const link of document.querySelectorAll("#views a")) {
		const own = link.hash.slice(2);
		if (own === name || (own === "users" && name === "user")) link.setAttribute("aria-current", "page");
		else link.removeAttribute("aria-current");
	}
}

// How the proxy is.

let readiness = null;
let pollTimer = null;

async function poll() {
	clearTimeout(pollTimer);
	let wait = POLL_MS;
	if (!document.hidden) {
		try {
			readiness = await readReadiness();
		} catch {
			readiness = null;
			wait = AWAY_POLL_MS;
		}
		paintReadiness();
	}
	pollTimer = setTimeout(poll, wait);
}

function paintReadiness() {
	const well = readiness?.status === "ready";
	const failedEntries = readiness?.journal?.failed ?? 0;
	const [kind, text] = !readiness
		? ["off", "No answer"]
		: !well
			? ["warn", "Degraded"]
			: failedEntries
				? ["warn", "Ready, journal"]
				: ["on", "Ready"];
	const status = document.getElementById("status");
	replace(status, h("span.dot", { class: `is-${kind}` }), h("span", text));
	status.title = failedEntries ? `${number(failedEntries)} exchanges could not be stored` : "How the proxy is";
}

function showReadiness() {
	const { checks = {}, journal } = readiness ?? {};
	dialog(
		"How the proxy is",
		h(
			"div.body",
			h(
				"p",
				!readiness
					? "The proxy does not answer. The page asks again every few seconds."
					: readiness.status === "ready"
						? "Chats get their memory."
						: "Chats are answered, some of them without memory.",
			),
			facts(
				...Object.entries(checks).map(([name, state]) => [name, state === "ok" ? h("span.good", "ok") : bdi(state)]),
				journal && ["to be stored", number(journal.pending)],
				journal && ["to be read for facts", number(journal.extracting)],
				journal && ["set aside", number(journal.failed)],
				journal?.reason && ["because", bdi(journal.reason)],
			),
			access.version &&
				facts(
					["Version", access.version],
					["Memory mode", access.mode],
					["Placement", access.placement],
					["Budget", `${number(access.budget)} tokens`],
					["Embedding", bdi(access.embedding)],
				),
			journal?.failed > 0 &&
				h(
					"p",
					h("a", { href: "#/journal", onclick: event => event.target.closest("dialog").close() }, "To the journal"),
				),
		),
	);
}

watch.addEventListener("away", () => {
	document.getElementById("away").hidden = false;
	if (readiness) {
		readiness = null;
		paintReadiness();
		clearTimeout(pollTimer);
		pollTimer = setTimeout(poll, AWAY_POLL_MS);
	}
});
watch.addEventListener("answer", () => {
	document.getElementById("away").hidden = true;
});
watch.addEventListener("locked", () => {
	if (view) {
		leave();
		clearTimeout(pollTimer);
		askForToken(new Failure(401, "", ""));
	}
});

// Colours.

const dark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
	return (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
}

function paintTheme() {
	const element = document.getElementById("theme");
	const label = isDark() ? "Light colours" : "Dark colours";
	replace(element, icon(isDark() ? "sun" : "moon"));
	element.title = label;
	element.setAttribute("aria-label", label);
}

function switchTheme() {
	const chosen = isDark() ? "light" : "dark";
	document.documentElement.dataset.theme = chosen;
	setting.set("theme", chosen);
	paintTheme();
}

// Keys.

const KEYS = [
	["/", "to the search of the view"],
	["j k ↓ ↑", "down and up in a list"],
	["Home End", "to the first, to the last"],
	["Enter", "open what is chosen"],
	["Esc", "close, or leave the search"],
	["e", "edit the memory"],
	["x", "strike the memory out, or take that back"],
	["u", "take the last striking out back"],
	["a", "add a memory"],
	["p", "pause what comes live"],
	["g", "and then u, l, c or j: to users, live, charts, journal"],
	["?", "these keys"],
];
const GO = { u: "#/users", l: "#/live", c: "#/charts", j: "#/journal" };
let going = 0;

const keysOff = () => setting.get("keys") === "off";

function showKeys() {
	const box = h("input", { type: "checkbox", onchange: () => setting.set("keys", box.checked ? "on" : "off") });
	box.checked = !keysOff();
	dialog("Keys", [
		h(
			"div.body",
			h(
				"dl.keys",
				KEYS.map(([keys, what]) => [
					h(
						"dt",
						keys.split(" ").map(key => [h("kbd", key), " "]),
					),
					h("dd", what),
				]),
			),
			h("p", h("label.check", box, " Keys of one letter do something")),
		),
	]);
}

function press(event) {
	if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
	const { target, key } = event;
	if (document.querySelector("dialog[open]:not(.sheet)")) return;
	const typing = target.matches?.("input, textarea, select, [contenteditable]");
	if (key === "Escape") return escape(event, typing);
	if (typing || !view) return;
	if (key.length === 1 && keysOff()) return;
	// What has a meaning of its own there.
	if (["Enter", " "].includes(key) && target.closest("a, button, summary")) return;
	if (going && performance.now() - going < 1500 && key in GO) {
		location.hash = GO[key];
		event.preventDefault();
	} else if (key === "/" && focusSearch()) event.preventDefault();
	else if (key === "?") showKeys();
	else if (key === "g") return void (going = performance.now());
	else if (!target.closest(".scrolls, .detail, .plot, pre, .table-box, .chart-table") || key.length === 1) {
		if (view.press(event)) event.preventDefault();
	}
	going = 0;
}

function focusSearch() {
	const box = view?.search ?? document.getElementById("search");
	box?.focus();
	box?.select();
	return Boolean(box);
}

function escape(event, typing) {
	if (typing) event.target.blur();
	else if (view?.escape?.()) event.preventDefault();
}

function start() {
	takeToken();
	paintTheme();
	dark.addEventListener("change", paintTheme);
	document.getElementById("theme").addEventListener("click", switchTheme);
	document.getElementById("keys").append(icon("keys"));
	document.getElementById("keys").addEventListener("click", showKeys);
	document.getElementById("status").addEventListener("click", showReadiness);
	for (const link of document.querySelectorAll("#views a")) link.prepend(icon(link.hash.slice(2)));
	document.querySelector(".skip").addEventListener("click", event => {
		event.preventDefault();
		(view?.heading ?? main).focus();
	});
	document.addEventListener("keydown", press);
	document.addEventListener("visibilitychange", () => {
		if (!document.hidden && view) poll();
	});
	addEventListener("hashchange", () => {
		if (/^#token=/.test(location.hash)) {
			takeToken();
			enter();
		} else if (view || shown === null) route();
	});
	enter();
}

start();
