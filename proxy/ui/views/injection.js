/** What would be injected for a question, without injecting it. */

import { access, tryRecall } from "../api.js";
import { speakerOf, tagsOf, when } from "../detail.js";
import { bdi, button, cut, h, replace, shown } from "../dom.js";
import { count, fixed, ms, number, percent } from "../format.js";
import { VirtualList } from "../list.js";
import { pending } from "../pending.js";
import { addressOf, rewrite } from "../router.js";
import { copy, empty, failed, loading } from "../talk.js";
import { drawScore, legend } from "../why.js";
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
      id: "search", rows: 2, placeholder: "What should I cook tonight?", "aria-label": "What the user says", dir: "auto",
      onkeydown: (event) => {
        if (event.key === "Enter" && !event.shiftKey) {
          event.preventDefault();
          this.#ask();
        }
      },
    });
    this.budget = h("input", { type: "number", min: 1, max: 100_000, "aria-label": "Budget, in tokens" });
    this.date = h("input", { type: "datetime-local", "aria-label": "Asked at" });
    this.form = h("form.ask", { onsubmit: (event) => { event.preventDefault(); this.#ask(); } },
      this.search,
      h("div.row", null,
        h("label.date", null, h("span", null, "Budget"), this.budget, h("span.aside", null, "tokens")),
        h("label.date", null, h("span", null, "Asked at"), this.date, h("span.aside", null, "empty for now")),
        h("button.primary", { type: "submit" }, "Recall")));
    this.outcome = h("div.state");
    this.list = new VirtualList({
      label: "Memories in the block, the oldest first", key: (found) => found.id, render: (found) => this.#render(found),
      estimate: () => 64, open: (found, row, how) => this.choose(found, { focus: how === "key" }),
    });
    replace(pane, this.form, this.outcome);
    this.element = h("div.tab.fill", null, this.split.element);
    this.update(route);
  }

  update({ params }) {
    this.search.value = params.get("q") ?? "";
    this.budget.value = params.get("budget") || access.budget;
    this.date.value = params.get("at") ?? "";
    if (this.search.value.trim()) this.#ask();
    else replace(this.outcome, empty("Try a question", `It is answered as a chat of this user would be: ${{ system: "the block goes into the system message", tail: "the block goes behind the user's message" }[access.placement] ?? "a block goes into the request"}.`));
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
    rewrite(addressOf(this.scope, "injection", { q: query, budget: budget === access.budget ? "" : budget, at: this.date.value }));
    this.chosen = null;
    this.split.close();
    if (!this.found) replace(this.outcome, loading("Recalling"));
    const body = { query, budget_tokens: budget };
    if (this.date.value) body.asked_at = new Date(this.date.value).toISOString();
    try {
      this.found = await tryRecall(this.scope, body, run.signal);
      this.#paint(budget);
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 401) replace(this.outcome, failed(error, () => this.#ask()));
    }
  }

  #paint(budget) {
    const { found } = this;
    this.best = Math.max(1e-9, ...found.memories.map(({ score }) => score));
    const meter = h("meter", { min: 0, max: budget, value: found.tokens, "aria-label": "Part of the budget" });
    replace(this.outcome,
      h("div.injected", { role: "status" },
        h("span", { class: `tag status-${found.status}` }, found.status),
        h("span", null, h("b.number", null, number(found.tokens)), ` of ${number(budget)} tokens`), meter,
        h("span.aside", null, `${percent(found.tokens / budget)} · ${count(found.memories.length, "memory", "memories")} · ${ms(found.elapsed_ms)}`),
        h("p.aside", null, MEANS[found.status] ?? ""), found.memories.length > 0 && legend()),
      found.block !== null && h("div.block-and-memories", null,
        h("section.block-box", null,
          h("header.section-head", null, h("h2", null, "Block"), button("Copy", () => copy(found.block, "Block"), { name: "copy", kind: "quiet" })),
          h("pre.block", { tabindex: "0", "aria-label": "The block", dir: "auto" }, shown(found.block))),
        h("section.in-block", null, h("header.section-head", null, h("h2", null, "Memories in it"), h("span.aside", null, "oldest first")), this.list.element)));
    this.list.setItems([]);
    this.list.setItems(found.memories, { top: true });
  }

  #render(found) {
    const who = found.kind === "fact" ? "fact" : found.role;
    return h("div.result", { class: pending.has(this.scope, found.id) ? "struck" : null },
      h("div.rank", null, h("span.number", null, found.score > 0 ? fixed(found.score, 2) : "standing"), found.score > 0 && drawScore(found.score, found.why, this.best)),
      h("div.text", null,
        h("p.result-head", null, h("span.speaker", { class: `is-${who}` }, bdi(cut(speakerOf(found), 24))), when(found.created_at), tagsOf(found)),
        h("p.excerpt.short", { dir: "auto" }, shown(cut(found.text, 200)), found.text.length > 200 && " …")));
  }

  foundBy(found) {
    return found.why && { score: found.score, why: found.why, words: (found.why?.words ?? []).map(([word]) => word) };
  }

  unmount() {
    this.running?.abort();
    super.unmount();
  }
}
