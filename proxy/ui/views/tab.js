/** What the tabs of a user have in common that show memories in a list, and the chosen one in full. */

import { Detail, speaker, tagsOf, when } from "../detail.js";
import { cut, h, shown } from "../dom.js";
import { fixed } from "../format.js";
import { pending } from "../pending.js";
import { Split } from "../split.js";
import { drawScore, findWords } from "../why.js";

// Of a long text, from a little before the first word that was found.
const SHOWN = 320;
const BEFORE = 60;

export class MemoryTab {
	/** Subclasses make *list*, and may say what a memory was *found* by, and where one *is*, in the address. */
	constructor(memories, pane) {
		this.memories = memories;
		this.scope = memories.scope;
		this.chosen = null; // the id of the memory that is shown in full
		this.detail = null;
		this.split = new Split(pane, { label: "Memory", closed: () => this.closed() });
		this.listener = () => this.changed();
		memories.addEventListener("change", this.listener);
	}

	foundBy() {
		return null;
	}

	/** Writes into the address what is looked at. */
	write() {}

	/** Shows a memory of the list in full. */
	choose(item, { focus = false } = {}) {
		this.chosen = item.id;
		if (this.detail?.memory.id !== item.id || !this.split.open) {
			this.detail = new Detail(this.memories, this.memories.byId.get(item.id) ?? item, this.foundBy(item));
			this.split.show(this.detail.element, { focus });
		} else if (focus) this.split.aside.focus();
		this.list.mark(item.id);
		this.write();
	}

	/** The user's memories have changed, or more of them are there. */
	changed() {
		if (!this.detail || !this.split.open) return;
		const memory = this.memories.byId.get(this.detail.memory.id);
		if (memory) this.detail.update(memory);
		else if (this.memories.complete) this.split.close();
	}

	closed() {
		const key = this.chosen;
		this.chosen = null;
		this.detail = null;
		this.list.mark(null);
		this.write();
		if (key) this.list.show(key, { focus: true });
	}

	/** A row for a memory that was found: its score against the *best* one, and where the *words* are. */
	renderFound(found, best, words, ...more) {
		const { text, before, after } = excerpt(found.text, words);
		return h(
			"div.result",
			{ class: pending.has(this.scope, found.id) && "struck" },
			h(
				"div.rank",
				h("span.number", found.score > 0 ? fixed(found.score, 2) : "standing"),
				found.score > 0 && drawScore(found.score, found.why, best),
			),
			h(
				"div.text",
				h("p.result-head", speaker(found), when(found.created_at), tagsOf(found)),
				h("p.excerpt", { dir: "auto" }, before && "… ", shown(text, findWords(text, words)), after && " …"),
				more,
			),
		);
	}

	/** What is struck out has changed. */
	restrike() {
		this.list.refresh();
		this.detail?.paint();
	}

	press(event) {
		const active = this.list.active === null ? null : this.list.find(this.list.active);
		if (event.key === "x" && active) pending.toggle(this.scope, active.id);
		else if (event.key === "u" && pending.size) pending.undo();
		else if (event.key === "e" && active) {
			this.choose(active);
			this.detail.edit();
		} else if (!this.list.press(event)) return false;
		else if (this.split.open && event.key !== "Enter" && event.key !== "o" && !this.split.sheet) {
			// Whoever walks through the list with the details open sees those of where they are.
			const reached = this.list.find(this.list.active);
			if (reached?.id) this.choose(reached);
		}
		return true;
	}

	escape() {
		return this.split.close();
	}

	unmount() {
		this.memories.removeEventListener("change", this.listener);
		this.split.unmount();
	}
}

/** The part of a long text that was found. */
function excerpt(text, stems) {
	if (text.length <= SHOWN) return { text, before: false, after: false };
	const first = findWords(text.slice(0, 50_000), stems)[0]?.[0] ?? 0;
	let start = first > SHOWN - BEFORE ? first - BEFORE : 0;
	if (start && /[\udc00-\udfff]/.test(text[start])) start -= 1;
	const part = cut(text.slice(start, start + SHOWN + 1), SHOWN);
	return { text: part, before: start > 0, after: start + part.length < text.length };
}
