/** How the last hour went. */

import { readHistory } from "../api.js";
import { Chart, Cursor } from "../chart.js";
import { h, replace } from "../dom.js";
import { axisMs, clock, compact, ms, number, percent, seconds } from "../format.js";
import { empty, failed, loading } from "../talk.js";

const RETRY_MS = 5_000;
const classOf = code => (/^[1-5]\d\d$/.test(code) ? `${code[0]}xx` : code);
const CODES = [
	["2xx", "tone-1"],
	["3xx", "tone-2"],
	["4xx", "tone-warn"],
	["5xx", "tone-bad"],
	["gone", "tone-4"],
	["truncated", "tone-3"],
];
const STATUSES = [
	["injected", "tone-1"],
	["empty", "tone-2"],
	["skipped", "tone-3"],
	["anonymous", "tone-4"],
	["off", "tone-5"],
	["shadow", "tone-6"],
	["timeout", "tone-warn"],
	["error", "tone-bad"],
];
const line = (name, tone, values) => ({ name, tone, values });

/** [title, note, how it is written, its series out of samples] */
const CHARTS = [
	[
		"Recall",
		"p50 and p99",
		{ format: ms, axis: axisMs },
		all => [line("p50", "tone-1", pick(all, "recall_p50_ms")), line("p99", "tone-2", pick(all, "recall_p99_ms"))],
	],
	[
		"First token",
		"p50 and p99",
		{ format: ms, axis: axisMs },
		all => [
			line("p50", "tone-1", pick(all, "first_token_p50_ms")),
			line("p99", "tone-2", pick(all, "first_token_p99_ms")),
		],
	],
	[
		"Status codes",
		"chats in ten seconds",
		{ kind: "bars", whole: true, format: number, axis: compact },
		all => counts(all, "codes", CODES, classOf),
	],
	[
		"What memory did",
		"chats in ten seconds",
		{ kind: "bars", whole: true, format: number, axis: compact },
		all => counts(all, "memory", STATUSES, status => status),
	],
	[
		"Tokens of a block",
		"mean",
		{ format: value => number(value) },
		all => [line("tokens", "tone-1", pick(all, "block_tokens"))],
	],
	[
		"Cached prompt tokens",
		"share of all",
		{ format: percent },
		all => [
			line(
				"cached",
				"tone-1",
				all.map(({ prompt_tokens: of, cached_tokens: part }) => (of ? part / of : null)),
			),
		],
	],
	[
		"Journal",
		"exchanges that wait",
		{ whole: true, format: number, axis: compact },
		all => [
			line("to be stored", "tone-1", pick(all, "journal_pending")),
			line("for facts", "tone-2", pick(all, "journal_extracting")),
			line("set aside", "tone-bad", pick(all, "journal_failed")),
		],
	],
	[
		"Memories",
		"stored altogether",
		{ whole: true, format: number, axis: compact },
		all => [line("memories", "tone-1", pick(all, "memories"))],
	],
];

const pick = (samples, name) => samples.map(sample => sample[name]);

/** Counters by a label, in the order of *known*; what is not known comes last. */
function counts(samples, name, known, nameOf) {
	const rows = samples.map(sample => {
		const row = {};
		for (const [key, value] of Object.entries(sample[name])) row[nameOf(key)] = (row[nameOf(key)] ?? 0) + value;
		return row;
	});
	const others = [...new Set(rows.flatMap(Object.keys))].filter(key => !known.some(([one]) => one === key));
	return [...known, ...others.map(key => [key, "tone-6"])]
		.filter(([key]) => rows.some(row => row[key]))
		.map(([key, tone]) =>
			line(
				key,
				tone,
				rows.map(row => row[key] ?? 0),
			),
		);
}

export class ChartsView {
	title = "Charts";

	constructor() {
		const cursor = new Cursor();
		this.heading = h("h1", { tabindex: "-1" }, "Charts");
		this.charts = CHARTS.map(
			([title, note, how]) =>
				new Chart({ title, note, cursor, moment: time => seconds(time), tick: time => clock(time), ...how }),
		);
		this.grid = h(
			"div.charts",
			{ hidden: true },
			this.charts.map(({ element }) => element),
		);
		this.state = h("div.state", loading());
		this.said = h("p.aside");
		this.element = h("section.view.scrolls", h("header.view-head", this.heading, this.said), this.state, this.grid);
		this.running = new AbortController();
		this.#load();
	}

	async #load() {
		let wait = RETRY_MS;
		try {
			const { every_s: every, samples } = await readHistory(this.running.signal);
			wait = every * 1000;
			this.grid.hidden = samples.length === 0;
			replace(
				this.state,
				samples.length === 0 &&
					empty("No samples yet", `One is taken every ${number(every)} seconds, and an hour of them is kept.`),
			);
			const times = samples.map(({ at }) => Date.parse(at));
			CHARTS.forEach(([, , , series], index) => this.charts[index].update(times, series(samples)));
			this.said.textContent = samples.length
				? `Since ${clock(samples[0].at)}, a sample every ${number(every)} s, all processes together`
				: "";
		} catch (error) {
			if (error.name === "AbortError" || error.status === 401) return;
			replace(
				this.state,
				failed(error, () => this.#again(0)),
			);
		}
		this.#again(wait);
	}

	#again(wait) {
		clearTimeout(this.timer);
		if (!this.running.signal.aborted) this.timer = setTimeout(() => this.#load(), wait);
	}

	update() {}

	press() {
		return false;
	}

	unmount() {
		this.running.abort();
		clearTimeout(this.timer);
		for (const chart of this.charts) chart.unmount();
	}
}
