/** What the page says and asks beside its views: short notes, dialogs, and words for who does not see them. */

import { append, bdi, button, facts, h, icon } from "./dom.js";

const NOTE_MS = 8000;

/** Where notes are shown: within a dialog that is in front of everything else, they would not be seen otherwise. */
function findNotes() {
	const front = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
	return front.querySelector(":scope > .notes") ?? front.appendChild(h("div.notes", { role: "status" }));
}

/** A short note that goes by itself. *action*: [label, function]. */
export function note(text, { kind = "", action = null } = {}) {
	const close = () => element.remove();
	const element = h(
		"div.note",
		{ class: kind || null, role: kind === "bad" ? "alert" : null },
		kind === "bad" && icon("alert"),
		h("p", text),
		action &&
			button(
				action[0],
				() => {
					close();
					action[1]();
				},
				{ kind: "quiet" },
			),
		button("Close", close, { name: "close", only: true, kind: "quiet" }),
	);
	findNotes().append(element);
	let timer = null;
	const start = () => {
		timer = setTimeout(close, action || kind === "bad" ? 2 * NOTE_MS : NOTE_MS);
	};
	// Who reads it, or is about to press its button, has the time for it.
	for (const name of ["pointerenter", "focusin"]) element.addEventListener(name, () => clearTimeout(timer));
	for (const name of ["pointerleave", "focusout"]) element.addEventListener(name, start);
	start();
}

export const complain = error => note(error.message, { kind: "bad" });

/** Said to screen readers only. */
export function say(text) {
	document.getElementById("said").textContent = text;
}

/** A dialog, opened at once. It is gone when it closes; *closed* is told with what. */
export function dialog(title, children, { classes = "", closed = null } = {}) {
	const heading = h("h2", { id: "dialog-title" }, title);
	const element = h(
		"dialog",
		{ "aria-labelledby": "dialog-title", class: classes || null },
		h(
			"header",
			heading,
			button("Close", () => element.close(), { name: "close", only: true, kind: "quiet" }),
		),
	);
	append(element, [children]);
	// A click beside it. Its own padding is none.
	element.addEventListener("click", event => event.target === element && element.close());
	element.addEventListener("close", () => {
		element.remove();
		closed?.(element.returnValue);
	});
	document.body.append(element);
	element.showModal();
	return element;
}

/** Copies *text* and says so. */
export async function copy(text, what) {
	try {
		await navigator.clipboard.writeText(text);
		note(`${what} copied.`);
	} catch {
		note("This browser does not let the page copy.", { kind: "bad" });
	}
}

/** Where there is nothing to show: why, and what may help. */
export function empty(title, text, ...actions) {
	return h("div.empty", h("h2", title), text && h("p", text), actions.length > 0 && h("p.row", actions));
}

/** Where something could not be loaded. */
export function failed(error, again) {
	return h(
		"div.empty.bad",
		{ role: "alert" },
		icon("alert"),
		h("h2", error.status === 0 ? "No answer" : "That did not work"),
		h("p", error.message),
		h("p.row", button("Try again", again, { name: "refresh" })),
	);
}

/** Where something is on its way: shown only when that takes longer than a blink. */
export const loading = (text = "Loading") => h("div.empty.loading", h("p", `${text} …`));

/** A receipt of an erasure, in full: who keeps it can prove what was done. */
export function showReceipts(receipts) {
	const rows = receipts.map(receipt =>
		facts(
			["Memories erased", String(receipt.memories)],
			["Journal entries erased", String(receipt.journal_entries)],
			["Erased at", receipt.erased_at],
			["User", bdi(receipt.user_id)],
			receipt.tenant && ["Tenant", receipt.tenant],
			receipt.digest && ["Digest", h("code", receipt.digest)],
		),
	);
	const text = receipts.map(receipt => JSON.stringify(receipt)).join("\n");
	dialog(receipts.length === 1 ? "Receipt" : `${receipts.length} receipts`, [
		h("div.body", rows),
		h(
			"footer",
			button("Copy as JSON", () => copy(text, "Receipt"), { name: "copy" }),
		),
	]);
}
