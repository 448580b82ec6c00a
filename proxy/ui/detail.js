/** One memory in full: what it says, where it is from, what it replaced, and what may be done with it. */

import { access } from "./api.js";
import { bdi, button, cut, h, icon, replace, shown } from "./dom.js";
import { count, dateTime, exact, number, relative } from "./format.js";
import { pending } from "./pending.js";
import { addressOf } from "./router.js";
import { complain, copy, note } from "./talk.js";
import { explain, findWords } from "./why.js";

// What is longer is shown on demand: an answer may have a million characters.
const LONG = 20_000;

// What somebody has typed and not saved, by memory: going elsewhere in the page loses nothing.
const drafts = new Map();

addEventListener("beforeunload", (event) => {
  if (drafts.size) event.preventDefault();
});

/** Who said it, in a word. */
export function speakerOf(memory) {
  if (memory.name) return memory.name;
  if (memory.kind === "fact") return memory.origin === "hand" ? "note" : "fact";
  return memory.role;
}

/** Tags of what is not as usual. */
export function tagsOf(memory) {
  const tags = [];
  if (memory.origin === "hand") tags.push(h("span.tag.hand", null, "by hand"));
  if (memory.superseded_by) tags.push(h("span.tag.old", null, "superseded"));
  if (memory.seen > 1) tags.push(h("span.tag", { title: `Said ${number(memory.seen)} times` }, `× ${number(memory.seen)}`));
  return tags;
}

export const when = (iso, text = dateTime(iso)) => h("time", { datetime: iso, title: exact(iso) }, text);

/** *found*: {score, why, words} where the memory is the result of a search. */
export class Detail {
  constructor(memories, memory, found = null) {
    this.memories = memories;
    this.scope = memories.scope;
    this.memory = memory;
    this.found = found;
    this.whole = memory.text.length <= LONG;
    this.element = h("article.memory");
    this.editing = drafts.has(memory.id);
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
    const sources = (this.memory.sources ?? []).map(([conversation, index]) => this.memories.at(conversation, index)?.id);
    return JSON.stringify([this.memory, members.map(({ id, superseded_by: by }) => [id, by]), sources, this.memories.complete]);
  }

  paint() {
    const { memory } = this;
    const held = this.element.contains(document.activeElement);
    this.painted = this.#sign();
    const gone = pending.has(this.scope, memory.id);
    this.element.classList.toggle("struck", gone);
    replace(
      this.element,
      h("header.memory-head", null,
        h("span.speaker", { class: `is-${memory.kind === "fact" ? "fact" : memory.role}` }, bdi(speakerOf(memory))),
        when(memory.created_at), tagsOf(memory)),
      this.editing ? this.#editor() : this.#text(),
      !access.readOnly && !this.editing && this.#actions(gone),
      this.found && h("section", null, h("h3", null, "Why it was found"), explain(this.found.score, this.found.why)),
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
    const stems = (this.found?.words ?? []);
    return [
      h("div.said", { dir: "auto" }, shown(text, stems.length ? findWords(text, stems) : [])),
      !this.whole && button(`Show all ${number(memory.text.length)} characters`, () => {
        this.whole = true;
        this.paint();
      }),
    ];
  }

  #actions(gone) {
    const { memory } = this;
    return h("div.row.actions", null,
      !gone && button("Edit", () => this.edit(), { name: "edit" }),
      memory.superseded_by && !gone &&
        button("Restore", () => this.#restore(memory), { name: "undo", title: "Makes it hold again" }),
      button(gone ? "Keep" : "Erase", () => this.erase(), { name: gone ? "undo" : "erase", kind: gone ? "" : "careful" }),
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
      value: drafts.get(memory.id) ?? memory.text,
      oninput: () => {
        if (box.value === memory.text) drafts.delete(memory.id);
        else drafts.set(memory.id, box.value);
      },
      onkeydown: (event) => {
        if (event.key === "Escape") {
          event.stopPropagation();
          event.preventDefault();
          this.#stop();
        } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#save(box);
      },
    });
    return h("div.editor", null, box,
      h("div.row.actions", null,
        button("Save", () => this.#save(box), { kind: "primary", title: "Ctrl+Enter" }),
        button("Cancel", () => this.#stop(), { title: "Esc" }),
        h("span.aside", null, "What is written by hand wins over what is said or extracted later.")));
  }

  #stop() {
    drafts.delete(this.memory.id);
    this.editing = false;
    this.paint();
  }

  async #save(box) {
    const text = box.value;
    if (text === this.memory.text || !text.trim()) return void this.#stop();
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

  #link(memory, text) {
    return h("a", { href: addressOf(this.scope, "memories", { memory: memory.id, superseded: memory.superseded_by && "all" }) },
      text);
  }

  /** What a fact is from: its quote, and the messages, which can be gone to. */
  #evidence() {
    const { memory } = this;
    const sources = memory.sources ?? [];
    return h("section", null,
      h("h3", null, "From what was said"),
      h("blockquote", { dir: "auto" }, shown(memory.quote)),
      sources.length > 0 && h("ul.sources", null, sources.map(([conversation, index]) => {
        const message = this.memories.at(conversation, index);
        const place = [`message ${number(index)} of `, bdi(conversation)];
        return h("li", null, icon("chain"), message
          ? [this.#link(message, place), " ", when(message.created_at)]
          : h("span.aside", null, place, this.memories.complete ? " (not stored any more)" : " (not loaded yet)"));
      })));
  }

  /** What took whose place, the oldest first. */
  #chain() {
    const { memory } = this;
    const { members, gap } = this.memories.chain(memory);
    if (members.length < 2 && !gap) return null;
    const items = members.map((one) => {
      const holds = !one.superseded_by;
      return h("li", { class: holds ? "holds" : null, "aria-current": one.id === memory.id ? "true" : null },
        h("p.chain-when", null, when(one.created_at),
          holds ? h("span.tag.good", null, "holds")
            : one.valid_until && h("span.aside", null, "until ", when(one.valid_until))),
        h("p.chain-text", { dir: "auto" }, one.id === memory.id ? shown(cut(one.text, 280)) : this.#link(one, shown(cut(one.text, 280)))),
        !holds && !access.readOnly && one.id !== memory.id && button("Restore", () => this.#restore(one), { name: "undo", kind: "small" }));
    });
    return h("section", null,
      h("h3", null, "What replaced what"),
      h("ol.chain", null, items,
        gap && h("li", null, h("p.aside", null, "Then replaced by a memory that is not stored any more."))));
  }

  #facts() {
    const { memory } = this;
    const rows = [
      ["Stored", [when(memory.created_at, exact(memory.created_at).split("\n")[0]), h("span.aside", null, relative(memory.created_at))]],
      memory.conversation_id !== "hand" && ["Conversation", [
        h("a", { href: addressOf(this.scope, "memories", { conversation: memory.conversation_id, superseded: "all" }) },
          bdi(memory.conversation_id)),
        h("span.aside", null, `message ${number(memory.message_index)}`)]],
      ["Kind", { said: memory.kind === "fact" ? "Fact" : `Message of the ${memory.role}`, extracted: "Fact, extracted by a model", hand: "Written by hand" }[memory.origin ?? "said"]],
      memory.seen > 1 && ["Said", count(memory.seen, "time")],
      memory.valid_until && ["Held until", when(memory.valid_until)],
      memory.superseded_by && ["Superseded by", this.#replacement()],
      ["Id", [h("code", null, bdi(memory.id)), button("Copy the id", () => copy(memory.id, "Id"), { name: "copy", only: true, kind: "quiet" })]],
    ];
    return h("dl.facts", null, rows.filter(Boolean).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
  }

  #replacement() {
    const { superseded_by: id } = this.memory;
    const other = this.memories.byId.get(id);
    return h("code", null, other ? this.#link(other, bdi(id)) : bdi(id));
  }
}
