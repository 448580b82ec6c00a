/** Charts of values over time, drawn as SVG; each can be read with a pointer, with keys, and as a table. */

import { button, h, replace, svg } from "./dom.js";

const HEIGHT = 148;
const LEFT = 50;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;
// Bars that are thinner cannot be told apart.
const BAR = 5;
// Of a service that has just started, so much time is shown all the same.
const LEAST_SPAN = 300_000;

/** Where several charts are read at once: the moment that somebody points at in one of them, or null. */
export class Cursor extends EventTarget {
	at = null;

	set(at) {
		if (at === this.at) return;
		this.at = at;
		this.dispatchEvent(new Event("move"));
	}
}

export class Chart {
	/**
	 * *kind*: "line", or "bars", which are stacked. *format* writes a value, *axis* one at the axis, *moment* a time.
	 * *open*(from, to) is called for a bar that somebody chooses.
	 */
	constructor({
		title,
		note,
		kind = "line",
		whole = false,
		format,
		axis = format,
		moment,
		tick = moment,
		cursor = new Cursor(),
		open = null,
		slot = 0,
	}) {
		Object.assign(this, { title, kind, whole, format, axis, moment, tick, cursor, open, slot });
		this.times = [];
		this.series = [];
		this.legend = h("ul.legend");
		this.when = h("p.aside.when");
		this.plot = h("div.plot", {
			tabindex: "0",
			role: "group",
			"aria-label": `${title}. Arrow keys read it, moment by moment.`,
			onpointermove: event => this.#point(event),
			onpointerleave: () => this.cursor.set(null),
			onkeydown: event => this.#key(event),
			onblur: () => this.cursor.set(null),
			onclick: event => {
				this.#point(event);
				this.#choose();
			},
		});
		this.table = h("div.chart-table", {
			hidden: true,
			tabindex: "0",
			role: "region",
			"aria-label": `${title}, as a table`,
		});
		this.toggle = button("Table", () => this.#switch(), {
			kind: "quiet small",
			"aria-expanded": "false",
			"aria-label": `${title} as a table`,
		});
		this.element = h(
			"section.chart",
			{ "aria-label": title },
			h("header.section-head", h("h2", title), note && h("span.aside", note), this.toggle),
			this.plot,
			this.table,
			h("footer", this.legend, this.when),
		);
		this.observer = new ResizeObserver(() => this.#draw());
		this.observer.observe(this.plot);
		this.onmove = () => this.#read();
		cursor.addEventListener("move", this.onmove);
	}

	/** *times*: moments in milliseconds; *series*: [{name, tone, values}], each as long, with null where there is nothing. */
	update(times, series) {
		this.times = times;
		this.series = series.filter(({ values }) => values.some(value => value !== null));
		if (!this.table.hidden) this.#write();
		this.#draw();
	}

	unmount() {
		this.observer.disconnect();
		this.cursor.removeEventListener("move", this.onmove);
	}

	#switch() {
		this.table.hidden = !this.table.hidden;
		this.plot.hidden = !this.table.hidden;
		this.toggle.setAttribute("aria-expanded", String(!this.table.hidden));
		if (!this.table.hidden) this.#write();
	}

	#write() {
		const rows = this.times.map((time, index) => [time, index]).reverse();
		replace(
			this.table,
			h(
				"table.plain",
				h(
					"thead",
					h(
						"tr",
						h("th", { scope: "col" }, "Time"),
						this.series.map(({ name }) => h("th.number", { scope: "col" }, name)),
					),
				),
				h(
					"tbody",
					rows.map(([time, index]) =>
						h(
							"tr",
							h("th", { scope: "row" }, this.moment(time)),
							this.series.map(({ values }) =>
								h("td.number", values[index] === null ? "–" : this.format(values[index])),
							),
						),
					),
				),
			),
		);
	}

	#draw() {
		const width = this.plot.clientWidth;
		if (!width) return;
		this.width = width;
		if (!this.series.length) {
			replace(this.plot, h("p.hint", this.times.length ? "Nothing in this time." : "Nothing yet."));
			this.#read();
			return;
		}
		const last = this.times.at(-1) + this.slot;
		const first = Math.min(this.times[0], this.slot ? Infinity : last - LEAST_SPAN);
		this.x = time => LEFT + ((time - first) / Math.max(1, last - first)) * (width - LEFT - RIGHT);
		this.bars = this.kind === "bars" ? this.#gather(width) : null;
		const tallest = this.bars
			? Math.max(...this.bars.map(({ values }) => values.reduce((sum, value) => sum + value, 0)))
			: Math.max(...this.series.flatMap(({ values }) => values.map(value => value ?? 0)));
		const steps = chooseSteps(tallest, this.whole);
		const top = steps.at(-1);
		this.y = value => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
		this.pointer = svg("g", { class: "pointer" });
		replace(
			this.plot,
			svg(
				"svg",
				{ viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, "aria-hidden": "true" },
				steps.map(value => [
					svg("line.grid", { x1: LEFT, x2: width - RIGHT, y1: this.y(value), y2: this.y(value) }),
					svg("text.axis", { x: LEFT - 6, y: this.y(value) + 4, "text-anchor": "end" }, this.axis(value)),
				]),
				this.#drawTicks(first, last, width),
				this.bars ? this.#drawBars() : this.series.map(one => this.#drawLine(one)),
				this.pointer,
			),
		);
		this.#read();
	}

	#drawTicks(first, last, width) {
		const count = Math.max(1, Math.min(6, Math.floor((width - LEFT) / 105)));
		return Array.from({ length: count + 1 }, (_, index) => {
			const time = first + ((last - first) * index) / count;
			const anchor = index === 0 ? "start" : index === count ? "end" : "middle";
			return svg("text.axis", { x: this.x(time), y: HEIGHT - 5, "text-anchor": anchor }, this.tick(time));
		});
	}

	#drawLine({ tone, values }) {
		const pieces = [];
		let path = "";
		values.forEach((value, index) => {
			if (value === null) return;
			const x = this.x(this.times[index]).toFixed(1),
				y = this.y(value).toFixed(1);
			const alone = (values[index - 1] ?? null) === null;
			path += `${alone ? "M" : "L"}${x} ${y}`;
			if (alone && (values[index + 1] ?? null) === null)
				pieces.push(svg("circle", { class: `dot ${tone}`, cx: x, cy: y, r: 2 }));
		});
		return [svg("path", { class: `line ${tone}`, d: path }), pieces];
	}

	/** Moments, so many together that each makes a bar that can be seen: {from, to, values}. */
	#gather(width) {
		const together = this.slot ? 1 : Math.max(1, Math.ceil((this.times.length * BAR) / (width - LEFT - RIGHT)));
		const bars = [];
		for (let start = 0; start < this.times.length; start += together) {
			const end = Math.min(this.times.length, start + together);
			bars.push({
				from: start,
				to: end,
				values: this.series.map(({ values }) => values.slice(start, end).reduce((sum, value) => sum + (value ?? 0), 0)),
			});
		}
		return bars;
	}

	#drawBars() {
		const step = this.slot || (this.times.length > 1 ? this.times[1] - this.times[0] : LEAST_SPAN / 30);
		return this.bars.map(({ from, to, values }) => {
			const start = this.x(this.times[from] - (this.slot ? 0 : step)),
				end = this.x(this.times[to - 1] + (this.slot ? step : 0));
			let below = 0;
			return values.map((value, index) => {
				if (!value) return null;
				const bottom = this.y(below);
				below += value;
				return svg("rect", {
					class: `bar ${this.series[index].tone}`,
					x: Math.max(LEFT, start).toFixed(1),
					width: Math.max(1, end - Math.max(LEFT, start) - 1).toFixed(1),
					y: this.y(below).toFixed(1),
					height: Math.max(0.5, bottom - this.y(below)).toFixed(1),
				});
			});
		});
	}

	/** Which sample, or bar, a moment belongs to. */
	#find(time) {
		let best = 0;
		for (let index = 0; index < this.times.length; index += 1) {
			if (
				this.slot ? this.times[index] <= time : Math.abs(this.times[index] - time) < Math.abs(this.times[best] - time)
			)
				best = index;
		}
		return best;
	}

	#point(event) {
		if (!this.series.length || !this.x) return;
		const { left } = this.plot.getBoundingClientRect();
		const first = this.x(this.times[0]),
			last = this.x(this.times.at(-1) + this.slot);
		const part = (event.clientX - left - first) / Math.max(1, last - first);
		this.cursor.set(this.times[this.#find(this.times[0] + part * (this.times.at(-1) + this.slot - this.times[0]))]);
	}

	#key(event) {
		const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
		if (event.key === "Enter") this.#choose();
		else if (event.key in moves && this.times.length) {
			const now = this.cursor.at === null ? this.times.length : this.#find(this.cursor.at);
			this.cursor.set(this.times[Math.min(this.times.length - 1, Math.max(0, now + moves[event.key]))]);
		} else return;
		event.preventDefault();
		event.stopPropagation();
	}

	#choose() {
		if (this.open && this.cursor.at !== null) this.open(this.cursor.at);
	}

	/** Shows the values of the moment that is pointed at, else the last ones. */
	#read() {
		const { at } = this.cursor;
		const index = this.times.length ? (at === null ? this.times.length - 1 : this.#find(at)) : -1;
		replace(
			this.legend,
			this.series.map(({ name, tone, values }) =>
				h(
					"li",
					h("span", { class: `key ${tone}` }),
					h("span", name),
					h("b.number", values[index] === null ? "–" : this.format(values[index])),
				),
			),
		);
		this.when.textContent = index < 0 ? "" : this.moment(this.times[index]);
		// Read aloud only to who moves with keys: it would talk all the time.
		this.when.setAttribute("aria-live", at !== null && this.plot === document.activeElement ? "polite" : "off");
		if (!this.pointer) return;
		if (at === null || index < 0 || !this.series.length) return void this.pointer.replaceChildren();
		const x = this.x(this.times[index] + this.slot / 2);
		replace(
			this.pointer,
			svg("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
			this.bars
				? null
				: this.series.map(
						({ tone, values }) =>
							values[index] !== null && svg("circle", { class: `dot ${tone}`, cx: x, cy: this.y(values[index]), r: 3 }),
					),
		);
	}
}

/** Round numbers from 0 to at least *tallest*, a few of them. */
function chooseSteps(tallest, whole) {
	if (!(tallest > 0)) return [0, 1];
	const rough = tallest / 3;
	const power = 10 ** Math.floor(Math.log10(rough));
	const found = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(one => one >= rough * 0.999);
	const step = whole ? Math.max(1, Math.ceil(found)) : found;
	const count = Math.ceil(tallest / step - 1e-9);
	return Array.from({ length: count + 1 }, (_, index) => index * step);
}
