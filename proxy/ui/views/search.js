/** What recall would find for a question, with the reasons. */

import { searchMemories } from "../api.js";
import { bdi, h, replace, searchBox, select } from "../dom.js";
import { count, fixed, ms } from "../format.js";
import { VirtualList } from "../list.js";
import { addressOf, rewrite } from "../router.js";
import { empty, failed, say } from "../talk.js";
import { legend, summarise } from "../why.js";
import { MemoryTab } from "./tab.js";

const DEBOUNCE_MS = 250;
const LIMITS = { 20: "Best 20", 50: "Best 50", 200: "Best 200", 1000: "Best 1,000" };
// Below this a question has nothing to do with the user: see recall/weights.py.
const DOUBT = -0.06;

export class SearchTab extends MemoryTab {
	constructor(memories, route) {
		const pane = h("div.listing");
		super(memories, pane);
		this.search = searchBox("Search this user's memories", "What did I say about …", {
			class: "wide",
			oninput: () => this.#later(),
			onkeydown: event => this.#typed(event),
		});
		this.limits = h("span");
		this.outcome = h("p.aside.outcome", { role: "status" });
		this.verdict = h("div.verdict");
		this.state = h("div.state");
		this.list = new VirtualList({
			label: "Memories found, the best first",
			key: found => found.id,
			render: found => this.renderFound(found, this.best, h("p.aside.reason", summarise(found.why))),
			estimate: () => 92,
			open: (found, row, how) => this.choose(found, { focus: how === "key" }),
		});
		replace(pane, this.verdict, this.state, this.list.element);
		this.element = h(
			"div.tab.fill",
			h("div.filters", { role: "search" }, this.search, this.limits, this.outcome),
			this.split.element,
		);
		this.found = null;
		this.update(route);
	}

	update({ params }) {
		this.query = params.get("q") ?? "";
		this.limit = Number.parseInt(params.get("limit"), 10) || 50;
		this.chosen = params.get("memory");
		if (this.search.value.trim() !== this.query) this.search.value = this.query;
		replace(
			this.limits,
			select(
				"How many",
				LIMITS,
				limit => {
					this.limit = Number(limit);
					this.#run();
				},
				String(this.limit),
			),
		);
		this.#run();
	}

	mounted() {
		if (this.query) return;
		this.search.focus({ preventScroll: true });
		// What the first search of a large user waits for, loading them, is done while the question is typed.
		searchMemories(this.scope, "", 1).catch(() => {});
	}

	#later() {
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.#ask(), DEBOUNCE_MS);
	}

	#ask() {
		clearTimeout(this.timer);
		const query = this.search.value.trim();
		if (query === this.query && this.found) return;
		this.query = query;
		this.chosen = null;
		this.split.close();
		this.#run();
	}

	#typed(event) {
		if (event.key === "Enter") this.#ask();
		if (event.key === "ArrowDown" && this.list.length) {
			event.preventDefault();
			this.list.enter();
		}
	}

	write() {
		rewrite(
			addressOf(this.scope, "search", {
				q: this.query,
				limit: this.limit === 50 ? "" : this.limit,
				memory: this.chosen,
			}),
		);
	}

	async #run() {
		this.running?.abort();
		this.write();
		if (!this.query) {
			this.found = null;
			this.list.setItems([]);
			replace(this.verdict);
			this.outcome.textContent = "";
			replace(
				this.state,
				empty(
					"Search as recall does",
					"Ask what a user might ask. Every memory comes with its score and where that is from.",
				),
			);
			return;
		}
		const run = (this.running = new AbortController());
		const began = performance.now();
		try {
			const found = await searchMemories(this.scope, this.query, this.limit, run.signal);
			this.#take(found, performance.now() - began);
		} catch (error) {
			if (error.name === "AbortError" || error.status === 401) return;
			this.list.setItems([]);
			replace(this.verdict);
			replace(
				this.state,
				failed(error, () => this.#run()),
			);
		}
	}

	#take(found, took) {
		this.found = found;
		this.best = found.memories[0]?.score ?? 1;
		replace(
			this.state,
			!found.memories.length &&
				empty("Nothing found", "No memory has anything in common with this question, in words or in meaning."),
		);
		this.outcome.textContent = `${count(found.memories.length, "memory", "memories")} · ${ms(found.elapsed_ms)}`;
		this.outcome.title = `${ms(found.elapsed_ms)} in the proxy, ${ms(took)} until the answer was here`;
		say(count(found.memories.length, "memory found", "memories found"));
		replace(
			this.verdict,
			h(
				"p.relevance",
				{ class: found.relevance >= 0 ? "good" : found.relevance >= DOUBT ? "warn" : "bad" },
				judge(found.relevance),
				h(
					"span.number.nowrap",
					{
						title:
							"Relevance: from 0 on a whole block, a little below a small one, further down standing lines at most",
					},
					`relevance ${fixed(found.relevance, 2)}`,
				),
			),
			found.words.length > 0 &&
				h(
					"p.asked",
					"Asked for ",
					found.words.map(({ word, weight }) => [
						h(
							"span.tag.word",
							{ title: `Weighs ${fixed(weight, 2)}: the rarer among this user's memories, the more` },
							bdi(word),
							" ",
							h("span.number", fixed(weight, 1)),
						),
						" ",
					]),
				),
			found.memories.length > 0 && legend(),
		);
		this.list.setItems(found.memories, { top: true });
		this.detail = null; // whose reasons were others
		const chosen = this.chosen && found.memories.find(({ id }) => id === this.chosen);
		if (chosen) this.choose(chosen);
	}

	unmount() {
		clearTimeout(this.timer);
		this.running?.abort();
		super.unmount();
	}
}

function judge(relevance) {
	if (relevance >= 0) return "It has to do with what this user said: a chat would get a block.";
	if (relevance >= DOUBT) return "Nobody can tell whether it has to do with this user: a chat would get a small block.";
	return "It has nothing to do with what this user said: a chat would get standing lines at most.";
}
