/** One memory in full: what it says, where it is from, what it replaced, and what may be done with it. */

import { access } from "./api.js";
import { bdi, button, cut, facts, h, icon, replace, shown } from "./dom.js";
import { count, dateTime, exact, number, relative } from "./format.js";
import { drafts, memoryKey } from "./memories.js";
import { pending } from "./pending.js";
import { addressOf } from "./router.js";
import { complain, copy, note } from "./talk.js";
import { explain, findWords } from "./why.js";

// What is longer is shown on demand: an answer may have a million characters.
const LONG = 20_000;

/** Who said it, in a word. */
export function speakerOf(memory) {
	if (memory.name) return memory.name;
	if (memory.kind === "fact") return memory.origin === "hand" ? "note" : "fact";
	return memory.role;
}

/** What kind of a voice it is: user, assistant or fact. */
export const whoSaid = memory => (memory.kind === "fact" ? "fact" : memory.role);

export const speaker = memory => h("span.speaker", { class: `is-${whoSaid(memory)}` }, bdi(cut(speakerOf(memory), 40)));

/** A link to a memory among the others, also when it no longer holds. */
export function linkTo(scope, { id, superseded_by: old }, text) {
	return h("a", { href: addressOf(scope, "memories", { memory: id, superseded: old && "all" }) }, text);
}

/** A link to a conversation, as far as it is remembered. */
export function linkToConversation(scope, conversation) {
	return h("a", { href: addressOf(scope, "memories", { conversation, superseded: "all" }) }, bdi(conversation));
}

/** Tags of what is not as usual. */
export function tagsOf(memory) {
	const tags = [];
	if (memory.origin === "hand") tags.push(h("span.tag.hand", "by hand"));
	if (memory.superseded_by) tags.push(h("span.tag.old", "superseded"));
	if (memory.seen > 1)
		tags.push(h("span.tag", { title: `Said ${number(memory.seen)} times` }, `× ${number(memory.seen)}`));
	return tags;
}

export const when = (iso, text = dateTime(iso)) => h("time", { datetime: iso, title: exact(iso) }, text);

/** *found*: {score, why, words} where the memory is the result of a search. */
export class Detail {
	constructor(memories, memory, found = null) {
		this.memories = memories;
		this.scope = memories.scope;
		this.memory = memory;
		this.key = memoryKey(this.scope, memory.id);
		this.found = found;
		this.whole = memory.text.length <= LONG;
		this.element = h("article.memory");
		this.editing = drafts.has(this.key);
		this.paint();
	}

	/** Shows the memory as it is now, if there is anything new, but not under the hands of who is typing. */
	update(memory) {
		this.memory = memory;
		if (!this.editing && this.#sign() !== this.painted) this.paint();
	}

	/** All that what is shown depends on. */
	#sign() {
		const { members } = this.memories.chain(this.memory);
		const sources = (this.memory.sources ?? []).map(
			([conversation, index]) => this.memories.at(conversation, index)?.id,
		);
		return JSON.stringify([
			this.memory,
			members.map(({ id, superseded_by: by }) => [id, by]),
			sources,
			this.memories.complete,
		]);
	}

	paint() {
		const { memory } = this;
		const held = this.element.contains(document.activeElement);
		this.painted = this.#sign();
		const gone = pending.has(this.scope, memory.id);
		this.element.classList.toggle("struck", gone);
		replace(
			this.element,
			h("header.memory-head", speaker(memory), when(memory.created_at), tagsOf(memory)),
			this.editing ? this.#editor() : this.#text(),
			!access.readOnly && !this.editing && this.#actions(gone),
			this.found && h("section", h("h3", "Why it was found"), explain(this.found.score, this.found.why)),
			memory.quote && this.#evidence(),
			this.#chain(),
			this.#facts(),
		);
		// Who was here goes on here, not at the top of the page.
		if (held) this.element.querySelector("textarea, .actions button")?.focus();
	}

	#text() {
		const { memory } = this;
		const text = this.whole ? memory.text : cut(memory.text, LONG);
		const stems = this.found?.words ?? [];
		return [
			h("div.said", { dir: "auto" }, shown(text, stems.length ? findWords(text, stems) : [])),
			!this.whole &&
				button(`Show all ${number(memory.text.length)} characters`, () => {
					this.whole = true;
					this.paint();
				}),
		];
	}

	#actions(gone) {
		const { memory } = this;
		return h(
			"div.row.actions",
			!gone && button("Edit", () => this.edit(), { name: "edit" }),
			memory.superseded_by &&
				!gone &&
				button("Restore", () => this.#restore(memory), { name: "undo", title: "Makes it hold again" }),
			button(gone ? "Keep" : "Erase", () => this.erase(), {
				name: gone ? "undo" : "erase",
				kind: gone ? "" : "careful",
			}),
		);
	}

	erase() {
		pending.toggle(this.scope, this.memory.id);
	}

	edit() {
		if (access.readOnly || this.editing || pending.has(this.scope, this.memory.id)) return;
		this.editing = true;
		this.paint();
		this.element.querySelector("textarea").focus();
	}

	#editor() {
		const { memory } = this;
		const box = h("textarea", {
			"aria-label": "Text of the memory",
			dir: "auto",
			rows: Math.min(16, Math.max(4, Math.ceil(memory.text.length / 50))),
			maxlength: 100_000,
			value: drafts.get(this.key) ?? memory.text,
			oninput: () => {
				if (box.value === memory.text) drafts.delete(this.key);
				else drafts.set(this.key, box.value);
			},
			onkeydown: event => {
				if (event.key === "Escape") {
					event.stopPropagation();
					event.preventDefault();
					this.#stop();
				} else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#save(box);
			},
		});
		return h(
			"div.editor",
			box,
			h(
				"div.row.actions",
				button("Save", () => this.#save(box), { kind: "primary", title: "Ctrl+Enter" }),
				button("Cancel", () => this.#stop(), { title: "Esc" }),
				h("span.aside", "What is written by hand wins over what is said or extracted later."),
			),
		);
	}

	#stop() {
		drafts.delete(this.key);
		this.editing = false;
		this.paint();
	}

	async #save(box) {
		const text = box.value;
		// A text box has no carriage returns: without them the text is the same.
		if (text === this.memory.text.replace(/\r\n?/g, "\n") || !text.trim()) return void this.#stop();
		box.disabled = true;
		try {
			this.memory = await this.memories.change(this.memory.id, { text });
			note("Saved. It holds from now on.");
			this.#stop();
		} catch (error) {
			complain(error);
			box.disabled = false;
			box.focus();
		}
	}

	async #restore(memory) {
		try {
			const restored = await this.memories.change(memory.id, { superseded_by: null });
			if (restored.id === this.memory.id) this.update(restored);
			note("Restored. It holds again.");
		} catch (error) {
			complain(error);
		}
	}

	/** What a fact is from: its quote, and the messages, which can be gone to. */
	#evidence() {
		const { memory } = this;
		const sources = memory.sources ?? [];
		return h(
			"section",
			h("h3", "From what was said"),
			h("blockquote", { dir: "auto" }, shown(memory.quote)),
			sources.length > 0 &&
				h(
					"ul.sources",
					sources.map(([conversation, index]) => {
						const message = this.memories.at(conversation, index);
						const place = [`message ${number(index)} of `, bdi(conversation)];
						return h(
							"li",
							icon("chain"),
							message
								? [linkTo(this.scope, message, place), " ", when(message.created_at)]
								: h("span.aside", place, this.memories.complete ? " (not stored any more)" : " (not loaded yet)"),
						);
					}),
				),
		);
	}

	/** What took whose place, the oldest first. */
	#chain() {
		const { memory } = this;
		const { members, gap } = this.memories.chain(memory);
		if (members.length < 2 && !gap) return null;
		const items = members.map(one => {
			const holds = !one.superseded_by;
			return h(
				"li",
				{ class: holds ? "holds" : null, "aria-current": one.id === memory.id ? "true" : null },
				h(
					"p.chain-when",
					when(one.created_at),
					holds ? h("span.tag.good", "holds") : one.valid_until && h("span.aside", "until ", when(one.valid_until)),
				),
				h(
					"p.chain-text",
					{ dir: "auto" },
					one.id === memory.id ? shown(cut(one.text, 280)) : linkTo(this.scope, one, shown(cut(one.text, 280))),
				),
				!holds &&
					!access.readOnly &&
					one.id !== memory.id &&
					button("Restore", () => this.#restore(one), { name: "undo", kind: "small" }),
			);
		});
		return h(
			"section",
			h("h3", "What replaced what"),
			h("ol.chain", items, gap && h("li", h("p.aside", "Then replaced by a memory that is not stored any more."))),
		);
	}

	#facts() {
		const { memory } = this;
		return facts(
			[
				"Stored",
				[
					when(memory.created_at, exact(memory.created_at).split("\n")[0]),
					h("span.aside", relative(memory.created_at)),
				],
			],
			memory.conversation_id !== "hand" && [
				"Conversation",
				[
					linkToConversation(this.scope, memory.conversation_id),
					h("span.aside", `message ${number(memory.message_index)}`),
				],
			],
			[
				"Kind",
				{
					said: memory.kind === "fact" ? "Fact" : `Message of the ${memory.role}`,
					extracted: "Fact, extracted by a model",
					hand: "Written by hand",
				}[memory.origin ?? "said"],
			],
			memory.seen > 1 && ["Said", count(memory.seen, "time")],
			memory.valid_until && ["Held until", when(memory.valid_until)],
			memory.superseded_by && ["Superseded by", this.#replacement()],
			[
				"Id",
				[
					h("code", bdi(memory.id)),
					button("Copy the id", () => copy(memory.id, "Id"), { name: "copy", only: true, kind: "quiet" }),
				],
			],
		);
	}

	#replacement() {
		const { superseded_by: id } = this.memory;
		const other = this.memories.byId.get(id);
		return h("code", other ? linkTo(this.scope, other, bdi(id)) : bdi(id));
	}
}
