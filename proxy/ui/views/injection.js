/** What would be injected for a question, without injecting it. */

import { access, tryRecall } from "../api.js";
import { button, h, replace, shown } from "../dom.js";
import { count, ms, number, percent } from "../format.js";
import { VirtualList } from "../list.js";
import { addressOf, rewrite } from "../router.js";
import { copy, empty, failed, loading } from "../talk.js";
import { drawBar, legend } from "../why.js";
import { MemoryTab } from "./tab.js";

const MEANS = {
	injected: "This block would go in front of the model.",
	empty: "Nothing relevant: the request would go on as it came.",
	timeout: "Recall was not done in time.",
	error: "Recall failed: the chat would go on without memory.",
	off: "Memory is off for this user.",
};

export class InjectionTab extends MemoryTab {
	constructor(memories, route) {
		const pane = h("div.listing.scrolls");
		super(memories, pane);
		this.search = h("textarea", {
			id: "search",
			rows: 2,
			placeholder: "What should I cook tonight?",
			"aria-label": "What the user says",
			dir: "auto",
			onkeydown: event => {
				if (event.key === "Enter" && !event.shiftKey) {
					event.preventDefault();
					this.#ask();
				}
			},
		});
		this.budget = h("input", { type: "number", min: 1, max: 100_000, "aria-label": "Budget, in tokens" });
		this.form = h(
			"form.ask",
			{
				onsubmit: event => {
					event.preventDefault();
					this.#ask();
				},
			},
			this.search,
			h(
				"div.row",
				h("label.date", h("span", "Budget"), this.budget, h("span.aside", "tokens")),
				h("button.primary", { type: "submit" }, "Recall"),
			),
		);
		this.outcome = h("div.state");
		this.list = new VirtualList({
			label: "Memories in the block, the oldest first",
			key: found => found.id,
			render: found => this.renderFound(found, this.best, wordsIn(found)),
			estimate: () => 64,
			open: (found, row, how) => this.choose(found, { focus: how === "key" }),
		});
		replace(pane, this.form, this.outcome);
		this.element = h("div.tab.fill", this.split.element);
		this.update(route);
	}

	update({ params }) {
		this.search.value = params.get("q") ?? "";
		this.budget.value = params.get("budget") || access.budget;
		if (this.search.value.trim()) this.#ask();
		else
			replace(
				this.outcome,
				empty(
					"Try a question",
					`It is answered as a chat of this user would be: ${{ system: "the block goes into the system message", tail: "the block goes behind the user's message" }[access.placement] ?? "a block goes into the request"}.`,
				),
			);
	}

	mounted() {
		if (!this.search.value) this.search.focus({ preventScroll: true });
	}

	async #ask() {
		const query = this.search.value.trim();
		if (!query) return void this.search.focus();
		this.running?.abort();
		const run = (this.running = new AbortController());
		const budget = Number(this.budget.value) || access.budget;
		rewrite(addressOf(this.scope, "injection", { q: query, budget: budget === access.budget ? "" : budget }));
		this.chosen = null;
		this.split.close();
		if (!this.found) replace(this.outcome, loading("Recalling"));
		const body = { query, budget_tokens: budget };
		try {
			this.found = await tryRecall(this.scope, body, run.signal);
			this.#paint(budget);
		} catch (error) {
			if (error.name !== "AbortError" && error.status !== 401)
				replace(
					this.outcome,
					failed(error, () => this.#ask()),
				);
		}
	}

	#paint(budget) {
		const { found } = this;
		this.best = Math.max(1e-9, ...found.memories.map(({ score }) => score));
		replace(
			this.outcome,
			h(
				"div.injected",
				{ role: "status" },
				h("span", { class: `tag status-${found.status}` }, found.status),
				h("span", h("b.number", number(found.tokens)), ` of ${number(budget)} tokens`),
				drawBar([["tone-1", found.tokens]], budget),
				h(
					"span.aside",
					`${percent(found.tokens / budget)} · ${count(found.memories.length, "memory", "memories")} · ${ms(found.elapsed_ms)}`,
				),
				h("p.aside", MEANS[found.status] ?? ""),
				found.memories.length > 0 && legend(),
			),
			found.block !== null &&
				h(
					"div.block-and-memories",
					h(
						"section.block-box",
						h(
							"header.section-head",
							h("h2", "Block"),
							button("Copy", () => copy(found.block, "Block"), { name: "copy", kind: "quiet" }),
						),
						h("pre.block", { tabindex: "0", "aria-label": "The block", dir: "auto" }, shown(found.block)),
					),
					h(
						"section.in-block",
						h("header.section-head", h("h2", "Memories in it"), h("span.aside", "oldest first")),
						this.list.element,
					),
				),
		);
		this.list.setItems([]);
		this.list.setItems(found.memories, { top: true });
	}

	foundBy(found) {
		return found.why && { score: found.score, why: found.why, words: wordsIn(found) };
	}

	unmount() {
		this.running?.abort();
		super.unmount();
	}
}

const wordsIn = found => (found.why?.words ?? []).map(([word]) => word);
