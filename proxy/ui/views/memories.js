/** A user's memories, as a timeline or a table, filtered here. */

import { access } from "../api.js";
import { speaker, speakerOf, tagsOf, when, whoSaid } from "../detail.js";
import { bdi, button, cut, h, icon, replace, searchBox, segmented, select, shown } from "../dom.js";
import { clock, count, date, day, number } from "../format.js";
import { VirtualList } from "../list.js";
import { wordsOf } from "../memories.js";
import { pending } from "../pending.js";
import { addressOf, rewrite } from "../router.js";
import { empty, failed, loading } from "../talk.js";
import { findExact } from "../why.js";
import { MemoryTab } from "./tab.js";

const FILTERS = ["text", "kind", "role", "origin", "from", "to", "superseded", "conversation"];
// Of a text in a list: what is longer is in its details.
const SHOWN = 600;
const COLUMNS = [
	["at", "Stored"],
	["speaker", "Speaker"],
	["text", "Text"],
	["conversation_id", "Conversation"],
	["seen", "Said"],
];

export class MemoriesTab extends MemoryTab {
	constructor(memories, route) {
		const pane = h("div.listing");
		super(memories, pane);
		this.pane = pane;
		this.filters = {};
		this.list = null;
		this.state = h("div.state");
		this.stick = h("p.stick", { "aria-hidden": "true" });
		this.#makeFilters();
		this.element = h("div.tab.fill", this.bar, this.split.element);
		this.update(route);
	}

	#makeFilters() {
		const set = name => value => this.#set(name, value);
		const typed = name => event => this.#set(name, event.target.value);
		this.search = searchBox("Filter by text", "Filter by text", {
			oninput: typed("text"),
			onkeydown: event => {
				if (event.key === "ArrowDown" || event.key === "Enter") {
					event.preventDefault();
					this.list.enter();
				}
			},
		});
		const dates = ["from", "to"].map(name =>
			h("label.date", h("span", name === "from" ? "From" : "To"), h("input", { type: "date", oninput: typed(name) })),
		);
		this.inputs = {
			text: this.search,
			kind: select("Kind", { "": "Any kind", turn: "Messages", fact: "Facts" }, set("kind")),
			role: select("Role", { "": "Any role", user: "User", assistant: "Assistant" }, set("role")),
			origin: select(
				"Origin",
				{ "": "Any origin", said: "Said", extracted: "Extracted", hand: "By hand" },
				set("origin"),
			),
			superseded: select(
				"Superseded",
				{ "": "What holds", all: "Superseded, too", only: "Superseded only" },
				set("superseded"),
			),
			from: dates[0].lastChild,
			to: dates[1].lastChild,
		};
		this.chip = h("span");
		this.matches = h("p.aside.matches", { role: "status" });
		const { kind, role, origin, superseded } = this.inputs;
		this.more = h("div.more-filters", { id: "more-filters" }, kind, role, origin, superseded, dates);
		this.toggle = button("Filters", () => this.#fold(), {
			name: "filter",
			kind: "fold",
			"aria-expanded": "false",
			"aria-controls": "more-filters",
		});
		this.switch = h("span");
		this.bar = h(
			"div.filters",
			{ role: "search", "aria-label": "Filter memories" },
			this.search,
			this.toggle,
			this.more,
			this.chip,
			this.matches,
			this.switch,
		);
	}

	#fold() {
		const open = this.more.classList.toggle("open");
		this.toggle.setAttribute("aria-expanded", String(open));
	}

	update({ params }) {
		const { table: wasTable, sort: before } = this;
		this.table = params.get("view") === "table";
		this.sort = { by: params.get("sort") ?? "at", down: params.get("order") !== "up" };
		const top = before && (before.by !== this.sort.by || before.down !== this.sort.down);
		this.filters = Object.fromEntries(FILTERS.map(name => [name, params.get(name) ?? ""]));
		this.chosen = params.get("memory");
		this.wanted = this.chosen; // to be brought into sight once it is there
		for (const [name, input] of Object.entries(this.inputs))
			if (input.value !== this.filters[name]) input.value = this.filters[name];
		if (!this.list || wasTable !== this.table) this.#makeList();
		if (this.table) this.#paintColumns();
		this.#refilter({ top });
	}

	mounted() {
		this.#bringIntoSight();
	}

	#set(name, value) {
		this.filters[name] = value;
		this.#refilter({ top: true });
		this.write();
	}

	write() {
		rewrite(addressOf(this.scope, "memories", this.#params()));
	}

	#params() {
		const { by, down } = this.sort;
		return {
			view: this.table ? "table" : "",
			...this.filters,
			sort: by === "at" ? "" : by,
			order: down ? "" : "up",
			memory: this.chosen,
		};
	}

	#makeList() {
		const open = (memory, row, how) => this.choose(memory, { focus: how === "key" });
		this.list = this.table
			? new VirtualList({
					label: "Memories",
					role: "rowgroup",
					key: memory => memory.id,
					render: memory => this.#renderRow(memory),
					estimate: (memory, width) => (width < 760 ? 84 : 37),
					open,
				})
			: new VirtualList({
					label: "Memories, the newest day first",
					key: item => item.head ?? item.id,
					render: item => (item.head ? this.#renderHead(item) : this.#renderMessage(item)),
					estimate: estimateHeight,
					selectable: item => !item.head,
					open,
					moved: item => this.#stick(item),
				});
		replace(
			this.switch,
			segmented(
				"View",
				[
					["timeline", "Timeline", "timeline"],
					["table", "Table", "table"],
				],
				this.table ? "table" : "timeline",
				view => {
					location.hash = addressOf(this.scope, "memories", { ...this.#params(), view: view === "table" ? view : "" });
				},
			),
		);
		this.head = this.table && this.#renderColumns();
		const body = this.table
			? h("div.table", { role: "table", "aria-label": "Memories" }, this.head, this.list.element)
			: this.list.element;
		if (!this.table) this.list.element.prepend(this.stick);
		replace(this.pane, this.state, body);
	}

	#refilter({ top = false } = {}) {
		const { memories, filters } = this;
		const found = memories.filter(filters);
		this.words = wordsOf(filters.text);
		this.#paintState(found.length);
		const active = FILTERS.some(name => name !== "text" && filters[name]);
		this.toggle.classList.toggle("used", active);
		replace(
			this.chip,
			filters.conversation &&
				h(
					"span.tag.chip",
					"in ",
					bdi(cut(filters.conversation, 40)),
					button("Any conversation", () => this.#set("conversation", ""), { name: "close", only: true, kind: "quiet" }),
				),
		);
		this.matches.textContent =
			found.length === memories.list.length
				? count(found.length, "memory", "memories")
				: `${number(found.length)} of ${number(memories.list.length)}`;
		if (this.words.join() !== this.marked) {
			this.marked = this.words.join();
			// The same memories, but other words are marked in them.
			this.list.setItems([]);
		}
		this.list.setItems(this.table ? this.#sorted(found) : group(found), { top });
		if (this.table) this.head.parentNode.setAttribute("aria-rowcount", found.length + 1);
		this.#bringIntoSight();
	}

	changed() {
		this.#refilter();
		super.changed();
	}

	#paintState(found) {
		const { memories } = this;
		let state = null;
		if (memories.failure) state = failed(memories.failure, () => memories.load());
		else if (!found && !memories.complete) state = loading("Loading memories");
		else if (!memories.list.length) {
			state = empty(
				"Nothing is remembered",
				access.readOnly ? "This user has no memories." : "This user has no memories. One can be added by hand.",
			);
		} else if (!found) {
			state = empty(
				"No memory fits",
				"None of this user's memories has all that the filter asks for.",
				button("Clear the filter", () => {
					location.hash = addressOf(this.scope, "memories", { view: this.table ? "table" : "" });
				}),
			);
		}
		replace(this.state, state);
		this.pane.classList.toggle("blank", !found);
	}

	#bringIntoSight() {
		if (!this.wanted || !this.memories.byId.has(this.wanted)) return;
		if (this.list.show(this.wanted)) {
			this.choose(this.memories.byId.get(this.wanted));
			this.wanted = null;
			return;
		}
		// Linked to, and hidden by the filter: it goes before.
		if (this.memories.complete && !this.memories.filter(this.filters).some(({ id }) => id === this.wanted)) {
			const old = this.memories.byId.get(this.wanted).superseded_by;
			this.filters = { ...Object.fromEntries(FILTERS.map(name => [name, ""])), superseded: old ? "all" : "" };
			for (const [name, input] of Object.entries(this.inputs)) input.value = this.filters[name];
			this.#refilter();
		}
	}

	#stick(item) {
		const key = item?.head ? item.day : item?.day;
		this.stick.textContent = key ? dayName(key) : "";
	}

	#renderHead(item) {
		if (item.conversation === undefined) {
			return h("div.day", h("h2", dayName(item.day)), h("span.aside", number(item.count)));
		}
		const name = item.conversation === "hand" ? "Written by hand" : bdi(cut(item.conversation, 60));
		return h(
			"div.conversation",
			h("h3", item.conversation === "hand" ? name : ["Conversation ", name]),
			h("span.aside", count(item.count, "memory", "memories")),
		);
	}

	#renderMessage(memory) {
		const text = cut(memory.text, SHOWN);
		return h(
			"div.message",
			{ class: this.#classes(memory) },
			h("div.gutter", when(memory.created_at, clock(memory.created_at)), speaker(memory)),
			h(
				"div.text",
				h("p", { dir: "auto" }, shown(text, findExact(text, this.words)), text.length < memory.text.length && "…"),
				h("p.tags", tagsOf(memory)),
			),
		);
	}

	#classes(memory) {
		const classes = [`by-${whoSaid(memory)}`];
		if (memory.superseded_by) classes.push("old");
		if (pending.has(this.scope, memory.id)) classes.push("struck");
		return classes.join(" ");
	}

	#renderColumns() {
		return h(
			"div.columns.memory-row",
			{ role: "row" },
			COLUMNS.map(([key, label]) =>
				h(
					"div",
					{ role: "columnheader", class: key === "seen" ? "number" : null },
					h(
						"button.sort",
						{ type: "button", onclick: () => this.#sortBy(key) },
						label,
						h("span", { "aria-hidden": "true" }),
					),
				),
			),
		);
	}

	#paintColumns() {
		const { by, down } = this.sort;
		COLUMNS.forEach(([key], index) => {
			const column = this.head.children[index];
			column.setAttribute("aria-sort", key !== by ? "none" : down ? "descending" : "ascending");
			column.querySelector("span").className = down ? "down" : "up";
			replace(column.querySelector("span"), key === by && icon("chevron"));
		});
	}

	#sortBy(key) {
		const { by, down } = this.sort;
		const order = key === by ? (down ? "up" : "") : key === "at" || key === "seen" ? "" : "up";
		location.hash = addressOf(this.scope, "memories", { ...this.#params(), sort: key === "at" ? "" : key, order });
	}

	#sorted(found) {
		const { by, down } = this.sort;
		const value = { speaker: speakerOf, seen: memory => memory.seen ?? 1 }[by] ?? (memory => memory[by]);
		const order = down ? -1 : 1;
		if (by === "at" && down) return found;
		return found.sort((a, b) => {
			const one = value(a),
				other = value(b);
			return one < other ? -order : one > other ? order : b.at - a.at;
		});
	}

	#renderRow(memory) {
		const text = cut(memory.text, 240).replace(/\s+/g, " ");
		const cell = (classes, ...children) => h("div", { role: "cell", class: classes }, children);
		return h(
			"div.memory-row",
			{ role: "row", class: this.#classes(memory) },
			cell("nowrap", when(memory.created_at, `${date(memory.created_at)} ${clock(memory.created_at)}`)),
			cell(null, speaker(memory)),
			cell("clip", h("span", { dir: "auto" }, shown(text, findExact(text, this.words))), tagsOf(memory)),
			cell("clip aside", bdi(memory.conversation_id === "hand" ? "–" : cut(memory.conversation_id, 60))),
			cell("number", number(memory.seen ?? 1)),
		);
	}
}

/** A day as a heading. It is no moment: midnight here would be another day elsewhere. */
function dayName(key) {
	return day(`${key}T12:00`);
}

/** Memories, the newest first, with headings: days, in them conversations, in these what was said in its order. */
function group(memories) {
	const items = [];
	for (let start = 0; start < memories.length;) {
		const key = memories[start].day;
		let end = start;
		const conversations = new Map();
		for (; end < memories.length && memories[end].day === key; end += 1) {
			const memory = memories[end];
			const others = conversations.get(memory.conversation_id);
			if (others) others.push(memory);
			else conversations.set(memory.conversation_id, [memory]);
		}
		items.push({ head: `day ${key}`, day: key, count: end - start });
		for (const [conversation, some] of conversations) {
			items.push({ head: `day ${key} in ${conversation}`, day: key, conversation, count: some.length });
			// A fact stands behind the message that it is from.
			some.sort((a, b) => a.message_index - b.message_index || (a.kind < b.kind) - (a.kind > b.kind) || a.at - b.at);
			for (const memory of some) items.push(memory);
		}
		start = end;
	}
	return items;
}

function estimateHeight(item, width) {
	if (item.head) return item.conversation === undefined ? 44 : 32;
	const letters = Math.max(24, ((Math.min(width, 780) || 700) - 60) / 6.6);
	const lines = Math.min(6, Math.ceil(Math.min(item.text.length, SHOWN) / letters));
	return (
		12 +
		21 * Math.max(1, lines) +
		(item.origin === "hand" || item.superseded_by || item.seen > 1 ? 23 : 0) +
		(width < 600 ? 21 : 0)
	);
}
