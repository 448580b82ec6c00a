/**
 * Memories that somebody wants erased. They are struck out and nothing else happens, wherever one goes in the page,
 * until it is confirmed: there is no way back from an erasure.
 */

import { access, eraseMemory } from "./api.js";
import { button, h, replace } from "./dom.js";
import { count } from "./format.js";
import { drafts, keptOf, memoryKey, scopeKey } from "./memories.js";
import { complain, note, say, showReceipts } from "./talk.js";

const AT_ONCE = 4;

const waiting = new Map(); // key → {scope, id}, in the order in which they were struck out

/** Events "change", with the keys' ids. */
export const pending = new (class extends EventTarget {
	has = (scope, id) => waiting.has(memoryKey(scope, id));

	get size() {
		return waiting.size;
	}

	/** Strikes a memory out, or takes that back. */
	toggle(scope, id) {
		const key = memoryKey(scope, id);
		if (access.readOnly || erasing) return;
		if (!waiting.delete(key)) waiting.set(key, { scope, id });
		say(waiting.has(key) ? "Struck out. It is not erased yet." : "Kept.");
		this.tell();
	}

	undo() {
		const last = [...waiting.keys()].pop();
		if (last !== undefined && !erasing) waiting.delete(last);
		this.tell();
	}

	keepAll() {
		if (!erasing) waiting.clear();
		this.tell();
	}

	/** What was to be erased of a user is gone already. */
	drop(scope) {
		for (const [key, one] of waiting) if (scopeKey(one.scope) === scopeKey(scope)) waiting.delete(key);
		this.tell();
	}

	tell() {
		paint();
		this.dispatchEvent(new CustomEvent("change"));
	}
})();

let erasing = false;

function paint() {
	const bar = document.getElementById("pending");
	bar.hidden = waiting.size === 0;
	if (waiting.size === 0) return void bar.replaceChildren();
	const what = count(waiting.size, "memory", "memories");
	replace(
		bar,
		h("p", erasing ? `Erasing ${what} …` : `${what} will be erased for good.`),
		h(
			"div.row",
			button("Undo", () => pending.undo(), { name: "undo", disabled: erasing }),
			waiting.size > 1 && button("Keep all", () => pending.keepAll(), { disabled: erasing }),
			button("Erase now", eraseAll, { kind: "danger", name: "erase", disabled: erasing }),
		),
	);
}

async function eraseAll() {
	erasing = true;
	paint();
	const receipts = [];
	const errors = [];
	const queue = [...waiting];
	const work = async () => {
		for (let next = queue.shift(); next; next = queue.shift()) {
			const [key, { scope, id }] = next;
			try {
				receipts.push(await eraseMemory(scope, id));
				waiting.delete(key);
			} catch (error) {
				// Gone already, with another one that it was learnt from.
				if (error.status === 404) waiting.delete(key);
				else errors.push(error);
			}
			if (!waiting.has(key)) gone(scope, id);
			paint();
		}
	};
	await Promise.all(Array.from({ length: AT_ONCE }, work));
	erasing = false;
	pending.tell();
	for (const scope of touched.values()) refresh(scope);
	touched.clear();
	if (errors.length) complain(errors[0]);
	const erased = receipts.reduce((sum, receipt) => sum + receipt.memories, 0);
	if (erased) {
		note(`${count(erased, "memory", "memories")} erased for good.`, {
			action: [receipts.length === 1 ? "Receipt" : "Receipts", () => showReceipts(receipts)],
		});
	}
}

const touched = new Map(); // scope's key → {scope, ids}

function gone(scope, id) {
	drafts.delete(memoryKey(scope, id));
	const key = scopeKey(scope);
	if (!touched.has(key)) touched.set(key, { scope, ids: new Set() });
	touched.get(key).ids.add(id);
}

function refresh({ scope, ids }) {
	const memories = keptOf(scope);
	if (!memories) return;
	memories.remove(ids);
	// What was learnt from them alone, and what they had taken the place of, has gone along.
	if (memories.complete || memories.running) memories.reload();
}

addEventListener("beforeunload", event => {
	if (waiting.size) event.preventDefault();
});
