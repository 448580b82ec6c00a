/** Chats as they end. */

import { access, listTraces, readEvents } from "../api.js";
import { when } from "../detail.js";
import { bdi, button, cut, h, icon, replace, select, shown, svg } from "../dom.js";
import { count, exact, fixed, ms, number, percent, seconds } from "../format.js";
import { VirtualList } from "../list.js";
import { memoriesOf } from "../memories.js";
import { address, addressOf, rewrite } from "../router.js";
import { Split } from "../split.js";
import { copy, empty, failed, loading, say } from "../talk.js";

const PAGE = 200;
const MOST = 2000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
const SAY_MS = 10_000;
const STATUSES = ["injected", "empty", "skipped", "anonymous", "off", "shadow", "timeout", "error"];

export class LiveView {
  title = "Live";

  constructor(route) {
    this.traces = []; // newest first
    this.held = []; // what has come while paused
    this.cursor = null;
    this.unsaid = 0;
    this.#makeTools();
    this.list = new VirtualList({
      label: "Chats, the newest first", role: "rowgroup", key: (trace) => trace.number, render: (trace) => this.#render(trace),
      estimate: (trace, width) => (width < 760 ? 84 : 40), open: (trace, row, how) => this.#choose(trace, how === "key"), reach: () => this.#older(),
    });
    this.state = h("div.state", null, loading());
    this.table = h("div.table", { role: "table", "aria-label": "Chats" },
      h("div.columns.trace-row", { role: "row" }, ["Ended", "User", "Code", "Memory", "Model", "Recalled", "Time", "Prompt tokens"].map((name, index) =>
        h("div", { role: "columnheader", class: index === 7 || index === 5 ? "number" : null }, name))),
      this.list.element);
    this.split = new Split(h("div.listing", null, this.state, this.table), {
      label: "Chat", closed: () => this.#closed(),
    });
    this.heading = h("h1", { tabindex: "-1" }, "Live");
    this.element = h("section.view.fill", null,
      h("header.view-head", null, this.heading, this.tools), this.split.element);
    this.update(route);
    this.#start();
  }

  #makeTools() {
    const apply = () => this.#filter();
    this.search = h("input", {
      type: "search", id: "search", placeholder: "User", "aria-label": "Only users whose id contains", autocomplete: "off", spellcheck: "false",
      dir: "auto", oninput: apply,
    });
    this.memory = select("What memory did", [["", "Any memory status"], ...STATUSES.map((name) => [name, name]), ["-", "not asked"]], "", apply);
    this.code = select("Status code", [["", "Any code"], ["ok", "2xx"], ["bad", "Failed"]], "", apply);
    this.pause = button("Pause", () => this.#toggle());
    this.dot = h("span.dot");
    this.how = h("span");
    this.now = button("Now", () => this.hurry?.(), { kind: "small", hidden: true });
    this.connection = h("div.connection", null, this.dot, h("span", { role: "status" }, this.how), this.now);
    this.tools = h("div.row.tools", null, this.search, this.memory, this.code, this.pause, this.connection);
  }

  update({ params }) {
    this.search.value = params.get("user") ?? "";
    this.memory.value = params.get("memory") ?? "";
    this.code.value = params.get("code") ?? "";
    this.wanted = params.get("request");
    this.#paint();
  }

  #filter() {
    this.#write();
    this.#paint(true);
  }

  #write() {
    rewrite(address("live", { user: this.search.value, memory: this.memory.value, code: this.code.value, request: this.chosen?.id }));
  }

  async #start() {
    clearTimeout(this.timer);
    this.running?.abort();
    const run = (this.running = new AbortController());
    this.#connected("waiting", "Connecting …");
    let wait = FIRST_WAIT_MS;
    while (!run.signal.aborted) {
      try {
        if (!this.loaded) await this.#load(run.signal);
        const last = this.held[0]?.number ?? this.traces[0]?.number ?? 0;
        for await (const event of readEvents("memory/traces/stream", last, run.signal, () => { wait = FIRST_WAIT_MS; this.#connected("on", "Live"); })) {
          if (event.type === "trace") this.#take(JSON.parse(event.data));
        }
      } catch (error) {
        if (run.signal.aborted || error.status === 401) return;
        if (!this.loaded && error.status) replace(this.state, failed(error, () => this.#start()));
      }
      if (run.signal.aborted) return;
      await this.#wait(wait, run.signal);
      wait = Math.min(LONGEST_WAIT_MS, wait * 2);
    }
  }

  async #load(signal) {
    const page = await listTraces(null, PAGE, signal);
    this.traces = page.traces;
    this.cursor = page.cursor;
    this.loaded = true;
    this.#paint();
  }

  /** Until it is time to try again, or somebody does not want to wait. */
  #wait(wait, signal) {
    const until = Date.now() + wait;
    return new Promise((resolve) => {
      this.hurry = resolve;
      const tick = () => {
        const left = Math.ceil((until - Date.now()) / 1000);
        if (signal.aborted || left <= 0) return resolve();
        this.#connected("off", `No connection, trying again in ${number(left)} s`);
        this.timer = setTimeout(tick, 1000);
      };
      tick();
    }).finally(() => clearTimeout(this.timer));
  }

  #connected(state, text) {
    this.dot.className = `dot is-${state}`;
    this.how.textContent = text;
    this.now.hidden = state !== "off";
    this.#paintPause();
  }

  #toggle() {
    if (this.paused) this.#resume();
    else this.paused = true;
    this.#paintPause();
  }

  #paintPause() {
    const held = this.held.length ? ` (${number(this.held.length)} new)` : "";
    replace(this.pause, icon(this.paused ? "play" : "pause"), h("span", null, this.paused ? `Resume${held}` : "Pause"));
    this.pause.classList.toggle("primary", Boolean(this.paused));
  }

  #resume() {
    this.paused = false;
    this.#insert(this.held.splice(0));
  }

  #take(trace) {
    if (this.paused) {
      this.held.unshift(trace);
      this.held.length = Math.min(this.held.length, MOST);
      this.#paintPause();
      return;
    }
    this.fresh = [...(this.fresh ?? []), trace];
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.#insert(this.fresh.splice(0));
    });
  }

  /** Those of other processes come a little late, and are sorted in. */
  #insert(traces) {
    if (!traces.length) return;
    const known = new Set(this.traces.slice(0, 500).map(({ number: own }) => own));
    this.traces = [...traces.filter(({ number: own }) => !known.has(own)), ...this.traces].sort((a, b) => b.number - a.number);
    if (this.traces.length > MOST) {
      this.traces.length = MOST;
      this.cursor = null;
    }
    this.#paint();
    this.#announce(traces.length);
  }

  #announce(more) {
    this.unsaid += more;
    if (this.announcing) return;
    this.announcing = setTimeout(() => {
      this.announcing = null;
      say(count(this.unsaid, "new chat"));
      this.unsaid = 0;
    }, SAY_MS);
  }

  async #older() {
    if (!this.cursor || this.fetching || this.traces.length >= MOST) return;
    this.fetching = true;
    try {
      const page = await listTraces(this.cursor, PAGE, this.running.signal);
      this.cursor = page.cursor;
      const known = new Set(this.traces.map(({ number: own }) => own));
      this.traces = [...this.traces, ...page.traces.filter(({ number: own }) => !known.has(own))];
      this.#paint();
    } catch {
      this.cursor = null; // what is there stays; the stream tells of the connection
    } finally {
      this.fetching = false;
    }
  }

  #paint(top = false) {
    const text = this.search.value.trim().toLowerCase();
    const fits = (trace) =>
      (!text || (trace.user_id ?? "").toLowerCase().includes(text)) &&
      (!this.memory.value || (trace.memory || "-") === this.memory.value) &&
      (!this.code.value || (this.code.value === "ok") === trace.code.startsWith("2"));
    const found = this.traces.filter(fits);
    if (this.loaded) {
      replace(this.state, !found.length && (this.traces.length
        ? empty("None of them fits", "Of the chats that are kept none has what the filter asks for. New ones appear here.")
        : empty("Nothing yet", "Chats appear here as they end.")));
    }
    this.table.hidden = !found.length;
    this.#rescale(found);
    this.table.setAttribute("aria-rowcount", found.length + 1);
    this.list.setItems(found, { top });
    if (this.wanted) {
      const trace = this.traces.find(({ id }) => id === this.wanted);
      if (trace) {
        this.wanted = null;
        this.list.show(trace.number);
        this.#choose(trace, false);
      }
    }
  }

  /** Bars are drawn against what nine of ten chats stay below: beside the slowest of all one would see no other. */
  #rescale(traces) {
    const times = traces.map(({ total_ms: total }) => total).sort((a, b) => a - b);
    const most = times[Math.floor(times.length * 0.9)] ?? 1;
    const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
    const scale = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= most) ?? most;
    if (scale === this.scale) return;
    this.scale = scale;
    this.list.refreshAll();
  }

  #render(trace) {
    const cell = (classes, ...children) => h("div", { role: "cell", class: classes }, children);
    return h("div.trace-row", { role: "row" },
      cell("nowrap aside", when(ended(trace), seconds(ended(trace)))),
      cell("clip who", trace.user_id === null ? h("span.aside", null, "nobody") : bdi(cut(trace.user_id, 80)), trace.tenant && h("span.tag", null, bdi(trace.tenant))),
      cell(null, code(trace)),
      cell(null, status(trace)),
      cell("clip aside", bdi(cut(trace.model ?? "–", 60)), trace.stream && h("span.unheard", null, ", streamed")),
      cell("number", trace.count ? [number(trace.count), h("span.aside", null, ` · ${number(trace.tokens)} tok`)] : h("span.aside", null, "–")),
      cell("times", drawTimes(trace, this.scale), h("span.number", null, ms(trace.total_ms))),
      cell("number", usage(trace)));
  }

  #choose(trace, focus) {
    this.chosen = trace;
    this.followed?.removeEventListener("change", this.onmemories);
    this.followed = null;
    if (trace.user_id !== null && trace.memories.length) {
      this.followed = memoriesOf({ user: trace.user_id, tenant: trace.tenant });
      this.onmemories = () => this.#fillMemories();
      this.followed.addEventListener("change", this.onmemories);
      this.followed.load();
    }
    this.recalled = h("ol.recalled");
    this.split.show(this.#describe(trace), { focus });
    this.#fillMemories();
    this.list.mark(trace.number);
    this.#write();
  }

  #describe(trace) {
    const scope = { user: trace.user_id, tenant: trace.tenant };
    const rows = [
      ["User", trace.user_id === null ? "nobody" : h("a", { href: addressOf(scope) }, bdi(trace.user_id))],
      trace.tenant && ["Tenant", bdi(trace.tenant)],
      trace.client && ["Client", bdi(trace.client)],
      ["Began", when(trace.at, exact(trace.at).split("\n")[0])],
      trace.model && ["Model", [bdi(trace.model), h("span.aside", null, trace.stream ? "streamed" : "not streamed")]],
      trace.conversation_id && ["Conversation", trace.user_id === null ? bdi(trace.conversation_id)
        : h("a", { href: addressOf(scope, "memories", { conversation: trace.conversation_id, superseded: "all" }) }, bdi(trace.conversation_id))],
      trace.usage && ["Usage", usageInWords(trace.usage)],
      ["Request", [h("code", null, bdi(trace.id)), button("Copy the request id", () => copy(trace.id, "Request id"), { name: "copy", only: true, kind: "quiet" })]],
    ];
    const words = (title, text) => text !== undefined && h("section", null, h("h3", null, title), h("div.said", { dir: "auto" }, shown(text)));
    return h("article.trace", null,
      h("header.memory-head", null, code(trace), status(trace), trace.error && h("span.tag.bad", null, bdi(trace.error))),
      h("section", null, h("h3", null, `Time: ${ms(trace.total_ms)}`), timeTable(trace)),
      words("Question", trace.question),
      trace.memories.length > 0 && h("section", null,
        h("h3", null, `Recalled: ${count(trace.count, "memory", "memories")}, ${number(trace.tokens)} tokens`), this.recalled),
      this.#block(trace),
      words("Answer", trace.answer),
      h("dl.facts", null, rows.filter(Boolean).map(([name, value]) => [h("dt", null, name), h("dd", null, value)])));
  }

  #block(trace) {
    if (trace.block !== undefined) {
      return h("section", null,
        h("header.section-head", null, h("h3", null, "Block, as the upstream saw it"), button("Copy", () => copy(trace.block, "Block"), { name: "copy", kind: "quiet small" })),
        h("pre.block", { tabindex: "0", "aria-label": "The block", dir: "auto" }, shown(trace.block)));
    }
    if (!trace.count) return null;
    return h("p.aside", null, access.content ? "The block of this chat is not kept." : ["Blocks and messages are kept only with ", h("code", null, "traces.content: true"), "."]);
  }

  #fillMemories() {
    const { chosen: trace, followed: memories } = this;
    if (!trace || !memories) return;
    replace(this.recalled, [...trace.memories].sort((a, b) => b.score - a.score).map(({ id, score }) => {
      const memory = memories.byId.get(id);
      const text = memory ? h("a", { href: addressOf(memories.scope, "memories", { memory: id, superseded: memory.superseded_by && "all" }) }, h("span", { dir: "auto" }, shown(cut(memory.text, 200))))
        : h("span.aside", null, memories.complete ? "Not stored any more" : memories.failure ? "Its text could not be loaded" : "Loading its text …");
      return h("li", null, h("span.number", null, score > 0 ? fixed(score, 2) : "standing"), text);
    }));
  }

  #closed() {
    const key = this.chosen?.number;
    this.chosen = null;
    this.list.mark(null);
    this.#write();
    if (key) this.list.show(key, { focus: true });
  }

  press(event) {
    if (event.key === "p") {
      this.#toggle();
      return true;
    }
    if (!this.list.press(event)) return false;
    if (this.split.open && event.key !== "Enter" && !this.split.sheet && this.list.active !== null) this.#choose(this.list.find(this.list.active), false);
    return true;
  }

  escape() {
    return this.split.close();
  }

  unmount() {
    this.running?.abort();
    clearTimeout(this.timer);
    clearTimeout(this.announcing);
    if (this.frame) cancelAnimationFrame(this.frame);
    this.followed?.removeEventListener("change", this.onmemories);
    this.split.unmount();
  }
}

const ended = (trace) => new Date(Math.floor(trace.number / 1000)).toISOString();

function code(trace) {
  const kind = trace.code.startsWith("2") ? "good" : /^(5|truncated)/.test(trace.code) ? "bad" : "warn";
  const title = { gone: "The client left before the end", truncated: "The upstream died before the end" }[trace.code] ?? `HTTP ${trace.code}`;
  return h("span.tag.code", { class: kind, title }, trace.code);
}

const status = (trace) => (trace.memory ? h("span", { class: `tag status-${trace.memory}` }, trace.memory) : h("span.aside", null, "not asked"));

function usage({ usage: used }) {
  if (!used) return h("span.aside", null, "–");
  const share = used.cached && used.prompt ? h("span.aside", null, ` · ${percent(used.cached / used.prompt)} cached`) : null;
  return [number(used.prompt), share];
}

function usageInWords({ prompt, completion, cached }) {
  const share = cached !== null && cached !== undefined && prompt ? ` (${number(cached)} of them, ${percent(cached / prompt)}, from the provider's cache)` : "";
  return `${number(prompt)} tokens of prompt${share}, ${number(completion)} of answer`;
}

/** [name, milliseconds, what it is] of a chat's time. */
function timesOf(trace) {
  const { recall_ms: recall, first_token_ms: first, total_ms: total } = trace;
  if (first === null) return [["recall", recall, "Recall"], ["wait", Math.max(0, total - recall), "Everything else"]];
  return [["recall", recall, "Recall"], ["wait", Math.max(0, first - recall), "Until the first token"], ["rest", Math.max(0, total - first), "The rest of the answer"]];
}

function drawTimes(trace, whole) {
  let at = 0;
  const pieces = timesOf(trace).map(([name, value]) => {
    const piece = svg("rect", { class: `time-${name}`, x: at, y: 0, width: Math.max(0, (value / whole) * 100 - 0.4), height: 6 });
    at += (value / whole) * 100;
    return piece;
  });
  return svg("svg.score", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect.track", { width: 100, height: 6 }), pieces);
}

function timeTable(trace) {
  return [drawTimes(trace, Math.max(trace.total_ms, 0.001)), h("ul.legend", null, timesOf(trace).map(([name, value, text]) =>
    h("li", null, h(`span.key.time-${name}`), text, " ", h("b.number", null, ms(value)))))];
}
