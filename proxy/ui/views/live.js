/** Chats as they end. */

import { listTraces, readEvents } from "../api.js";
import { when } from "../detail.js";
import { bdi, button, cut, h, icon, replace, searchBox, select } from "../dom.js";
import { count, ms, number, seconds } from "../format.js";
import { VirtualList } from "../list.js";
import { memoriesOf } from "../memories.js";
import { address, rewrite } from "../router.js";
import { Split } from "../split.js";
import { empty, failed, loading, say } from "../talk.js";
import { code, describe, drawTimes, ended, listRecalled, status, usage } from "./trace.js";

const PAGE = 200;
const MOST = 2000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
const SAY_MS = 10_000;
const BATCH_MS = 50;
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
			label: "Chats, the newest first",
			role: "rowgroup",
			key: trace => trace.number,
			render: trace => this.#render(trace),
			estimate: (trace, width) => (width < 760 ? 84 : 40),
			open: (trace, row, how) => this.#choose(trace, how === "key"),
			reach: () => this.#older(),
		});
		this.state = h("div.state", loading());
		this.table = h(
			"div.table",
			{ role: "table", "aria-label": "Chats" },
			h(
				"div.columns.trace-row",
				{ role: "row" },
				["Ended", "User", "Code", "Memory", "Model", "Recalled", "Time", "Prompt tokens"].map((name, index) =>
					h("div", { role: "columnheader", class: index === 7 || index === 5 ? "number" : null }, name),
				),
			),
			this.list.element,
		);
		this.split = new Split(h("div.listing", this.state, this.table), { label: "Chat", closed: () => this.#closed() });
		this.heading = h("h1", { tabindex: "-1" }, "Live");
		this.element = h("section.view.fill", h("header.view-head", this.heading, this.tools), this.split.element);
		this.update(route);
		this.#start();
	}

	#makeTools() {
		const apply = () => this.#filter();
		this.search = searchBox("Only users whose id contains", "User", { oninput: apply });
		const statuses = Object.fromEntries(STATUSES.map(name => [name, name]));
		this.memory = select("What memory did", { "": "Any memory status", ...statuses, "-": "not asked" }, apply);
		this.code = select("Status code", { "": "Any code", ok: "2xx", bad: "Failed" }, apply);
		this.pause = button("Pause", () => this.#toggle());
		this.dot = h("span.dot");
		this.how = h("span");
		this.now = button("Now", () => this.hurry?.(), { kind: "small", hidden: true });
		this.connection = h("div.connection", this.dot, h("span", { role: "status" }, this.how), this.now);
		this.tools = h("div.row.tools", this.search, this.memory, this.code, this.pause, this.connection);
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
		rewrite(
			address("live", {
				user: this.search.value,
				memory: this.memory.value,
				code: this.code.value,
				request: this.chosen?.id,
			}),
		);
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
				for await (const event of readEvents("memory/traces/stream", last, run.signal, () => {
					wait = FIRST_WAIT_MS;
					this.#connected("on", "Live");
				})) {
					if (event.type === "trace") this.#take(JSON.parse(event.data));
				}
			} catch (error) {
				if (run.signal.aborted || error.status === 401) return;
				if (!this.loaded && error.status)
					replace(
						this.state,
						failed(error, () => this.#start()),
					);
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
		return new Promise(resolve => {
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
		replace(this.pause, icon(this.paused ? "play" : "pause"), h("span", this.paused ? `Resume${held}` : "Pause"));
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
		// No frame: in a tab that nobody looks at there are none, and what waits would grow.
		this.batch ??= setTimeout(() => {
			this.batch = null;
			this.#insert(this.fresh.splice(0));
		}, BATCH_MS);
	}

	/** Those of other processes come a little late, and are sorted in. */
	#insert(traces) {
		if (!traces.length) return;
		this.traces = [...traces, ...this.traces].sort((a, b) => b.number - a.number);
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
			this.traces = [...this.traces, ...page.traces];
			this.#paint();
		} catch {
			this.cursor = null; // what is there stays; the stream tells of the connection
		} finally {
			this.fetching = false;
		}
	}

	#paint(top = false) {
		const text = this.search.value.trim().toLowerCase();
		const fits = trace =>
			(!text || (trace.user_id ?? "").toLowerCase().includes(text)) &&
			(!this.memory.value || (trace.memory || "-") === this.memory.value) &&
			(!this.code.value || (this.code.value === "ok") === trace.code.startsWith("2"));
		const found = this.traces.filter(fits);
		if (this.loaded) {
			replace(
				this.state,
				!found.length &&
					(this.traces.length
						? empty(
								"None of them fits",
								"Of the chats that are kept none has what the filter asks for. New ones appear here.",
							)
						: empty("Nothing yet", "Chats appear here as they end.")),
			);
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
		const scale = [1, 2, 5, 10].map(factor => factor * power).find(one => one >= most) ?? most;
		if (scale === this.scale) return;
		this.scale = scale;
		this.list.refresh();
	}

	#render(trace) {
		const cell = (classes, ...children) => h("div", { role: "cell", class: classes }, children);
		return h(
			"div.trace-row",
			{ role: "row" },
			cell("nowrap aside", when(ended(trace), seconds(ended(trace)))),
			cell(
				"clip who",
				trace.user_id === null ? h("span.aside", "nobody") : bdi(cut(trace.user_id, 80)),
				trace.tenant && h("span.tag", bdi(trace.tenant)),
			),
			cell(null, code(trace)),
			cell(null, status(trace)),
			cell("clip aside", bdi(cut(trace.model ?? "–", 60)), trace.stream && h("span.unheard", ", streamed")),
			cell(
				"number",
				trace.count ? [number(trace.count), h("span.aside", ` · ${number(trace.tokens)} tok`)] : h("span.aside", "–"),
			),
			cell("times", drawTimes(trace, this.scale), h("span.number", ms(trace.total_ms))),
			cell("number", usage(trace)),
		);
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
		this.split.show(describe(trace, this.recalled), { focus });
		this.#fillMemories();
		this.list.mark(trace.number);
		this.#write();
	}

	#fillMemories() {
		if (this.chosen && this.followed) listRecalled(this.recalled, this.chosen, this.followed);
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
		if (this.split.open && event.key !== "Enter" && !this.split.sheet && this.list.active !== null)
			this.#choose(this.list.find(this.list.active), false);
		return true;
	}

	escape() {
		return this.split.close();
	}

	unmount() {
		this.running?.abort();
		clearTimeout(this.timer);
		clearTimeout(this.announcing);
		clearTimeout(this.batch);
		this.followed?.removeEventListener("change", this.onmemories);
		this.split.unmount();
	}
}
