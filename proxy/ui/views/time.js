/** When a user said how much. */

import { Chart } from "../chart.js";
import { h, replace, segmented } from "../dom.js";
import { count, date, number } from "../format.js";
import { addressOf, rewrite } from "../router.js";
import { empty, failed, loading } from "../talk.js";

const DAY = 86_400_000;
const MOST_BARS = 90;
const STEPS = { day: "Day", week: "Week", month: "Month" };
const SERIES = [
	["User", "tone-1", memory => memory.kind === "turn" && memory.role === "user"],
	["Assistant", "tone-2", memory => memory.kind === "turn" && memory.role !== "user"],
	["Facts", "tone-3", memory => memory.kind === "fact"],
];

export class TimeTab {
	constructor(memories, route) {
		this.memories = memories;
		this.state = h("div.state");
		this.switch = h("div.row.tools");
		this.charts = h("div.charts.single");
		this.element = h("div.tab.scrolls", this.switch, this.state, this.charts);
		this.listener = () => this.#paint();
		memories.addEventListener("change", this.listener);
		this.update(route);
	}

	update({ params }) {
		this.step = params.get("by") in STEPS ? params.get("by") : null;
		this.#paint();
	}

	#paint() {
		const { memories } = this;
		const blank = memories.failure
			? failed(memories.failure, () => memories.load())
			: !memories.list.length &&
				(memories.complete ? empty("Nothing is remembered", "There is nothing to draw.") : loading("Loading memories"));
		replace(this.state, blank);
		this.charts.hidden = this.switch.hidden = Boolean(blank);
		if (blank) return;
		const first = memories.list.at(-1).at,
			last = memories.list[0].at;
		const step = this.step ?? Object.keys(STEPS).find(name => slots(first, last, name).length <= MOST_BARS) ?? "month";
		replace(
			this.switch,
			segmented("Bars of a", Object.entries(STEPS), step, name => {
				this.step = name;
				rewrite(addressOf(memories.scope, "time", { by: name }));
				this.#paint();
			}),
		);
		this.#draw(slots(first, last, step), step);
	}

	#draw(starts, step) {
		if (this.drawn !== step) {
			this.chart?.unmount();
			this.chart = new Chart({
				title: `Memories by ${step}`,
				note: "a bar leads to its memories",
				kind: "bars",
				whole: true,
				format: number,
				moment: time => date(time),
				slot: starts.length > 1 ? starts[1] - starts[0] : DAY,
				open: from => this.#open(from, step),
			});
			replace(this.charts, this.chart.element);
			this.drawn = step;
		}
		const series = SERIES.map(([name, tone, fits]) => ({ name, tone, values: starts.map(() => 0), fits }));
		for (const memory of this.memories.list) {
			const index = findLast(starts, memory.at);
			series.find(({ fits }) => fits(memory)).values[index] += 1;
		}
		this.chart.update(
			starts,
			series.filter(({ values }) => values.some(Boolean)),
		);
		this.chart.plot.setAttribute(
			"aria-label",
			`Memories by ${step}: ${count(this.memories.list.length, "memory", "memories")} in ${number(starts.length)} bars. Arrow keys read them, Enter leads to the memories.`,
		);
	}

	#open(from, step) {
		const until = next(new Date(from), step);
		until.setDate(until.getDate() - 1);
		location.hash = addressOf(this.memories.scope, "memories", {
			from: write(new Date(from)),
			to: write(until),
			superseded: "all",
		});
	}

	press() {
		return false;
	}

	unmount() {
		this.memories.removeEventListener("change", this.listener);
		this.chart?.unmount();
	}
}

const write = when =>
	`${when.getFullYear()}-${String(when.getMonth() + 1).padStart(2, "0")}-${String(when.getDate()).padStart(2, "0")}`;

/** When each bar from *first* to *last* begins, by the calendar here. */
function slots(first, last, step) {
	const when = new Date(first);
	when.setHours(0, 0, 0, 0);
	if (step === "week") when.setDate(when.getDate() - ((when.getDay() + 6) % 7));
	if (step === "month") when.setDate(1);
	const starts = [];
	for (let at = when; at.getTime() <= last && starts.length < 5000; at = next(at, step)) starts.push(at.getTime());
	return starts;
}

function next(when, step) {
	const then = new Date(when);
	if (step === "month") then.setMonth(then.getMonth() + 1);
	else then.setDate(then.getDate() + (step === "week" ? 7 : 1));
	return then;
}

function findLast(starts, at) {
	let low = 0,
		high = starts.length - 1;
	while (low < high) {
		const middle = (low + high + 1) >> 1;
		if (starts[middle] <= at) low = middle;
		else high = middle - 1;
	}
	return low;
}
