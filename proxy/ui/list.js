/**
 * A list of any length: only what is in sight is in the document. Rows may be of any height, which is estimated until
 * they have been seen. What is in sight stays where it is when rows come, go or turn out larger above it.
 */

import { h } from "./dom.js";

// Beyond the edges of what is in sight, in pixels: scrolling finds rows there.
const MARGIN = 400;

export class VirtualList {
	/**
	 * *render(item, index)* makes a row. *key(item)* is its identity, *estimate(item, width)* its height before it was
	 * seen, *selectable(item)* whether it can be reached with keys. *open(item, row, how)* is called for the row that
	 * somebody chooses, *reach()* when the end comes near, *moved(item)* with the row at the top.
	 */
	constructor({
		label,
		render,
		key,
		estimate,
		role = "list",
		selectable = () => true,
		open = null,
		reach = null,
		moved = null,
	}) {
		this.how = { render, key, estimate, selectable, open, reach, moved };
		this.items = [];
		this.active = null; // the key of the row that keys move from
		this.opened = null; // the key of the row whose details are shown
		this.rows = new Map(); // key → element, of what is in the document
		this.heights = new Map(); // key → pixels, of what has been seen
		this.places = new Map(); // key → index
		this.tops = new Float64Array(1);
		this.width = 0;
		// What scrolls can have the focus, which nothing between a table and its rows may but their group.
		const isTable = role === "rowgroup";
		this.canvas = h("div.canvas", isTable ? { role: "presentation" } : { role, "aria-label": label });
		this.element = h(
			"div.vlist",
			{
				role: isTable && role,
				"aria-label": isTable && label,
				tabindex: "0", // until there is a row that keys move from
				onscroll: () => this.#soon(),
				onclick: event => this.#click(event),
				onfocusin: event => this.#focus(event),
			},
			this.canvas,
		);
		new ResizeObserver(() => this.#resize()).observe(this.element);
	}

	get length() {
		return this.items.length;
	}

	/** Other items. Rows of items that are the same objects are kept. *top*: shown from their beginning. */
	setItems(items, { top = false } = {}) {
		const anchor = top || this.element.scrollTop < 2 ? null : this.#anchor();
		this.items = items;
		this.places = new Map(items.map((item, index) => [this.how.key(item), index]));
		if (this.active !== null && !this.places.has(this.active)) this.#activate(null);
		for (const [key, row] of this.rows) {
			if (this.find(key) === row.vitem) this.#number(row, this.places.get(key));
			else this.#drop(key, row);
		}
		this.#measureAll();
		if (anchor) this.#restore(anchor);
		else this.element.scrollTop = 0;
		this.paint();
	}

	/** Makes rows anew, because what they show has changed. */
	refresh() {
		const focused = document.activeElement?.closest?.(".vrow")?.vkey;
		for (const [key, row] of this.rows) this.#drop(key, row);
		this.paint();
		if (focused !== undefined) this.rows.get(focused)?.focus({ preventScroll: true });
	}

	/** The item of *key*, if it is in the list. */
	find(key) {
		const index = this.places.get(key);
		return index === undefined ? null : this.items[index];
	}

	/** Marks the row whose details are shown; null for none. */
	mark(key) {
		this.opened = key;
		for (const [own, row] of this.rows) row.setAttribute("aria-current", String(own === key));
	}

	/** Brings a row into sight and makes it the one that keys move from. Answers whether there is such a row. */
	show(key, { focus = false } = {}) {
		const index = this.places.get(key);
		if (index === undefined) return false;
		this.#activate(key);
		// Heights on the way are estimates until they are painted: the next look is nearer to the truth.
		for (let look = 0; look < 3; look += 1) {
			const { clientHeight: room, scrollTop } = this.element;
			// What sticks to the top covers a part.
			const [top, bottom] = [this.tops[index] - 44, this.tops[index + 1] + 8];
			if (top >= scrollTop && bottom <= scrollTop + room) break;
			const isNear = top > scrollTop - room && bottom < scrollTop + 2 * room;
			this.element.scrollTop = !isNear ? top - room / 3 : top < scrollTop ? top : Math.min(top, bottom - room);
			this.paint();
		}
		if (focus) this.rows.get(key)?.focus({ preventScroll: true });
		return true;
	}

	/** Moves by so many rows, or as far as there are any, and focuses the one that is reached. */
	move(by) {
		const step = Math.sign(by);
		let index = this.active === null ? (by > 0 ? -1 : this.items.length) : this.places.get(this.active);
		let [found, left] = [null, Math.abs(by)];
		for (index += step; left > 0 && this.items[index] !== undefined; index += step) {
			if (!this.how.selectable(this.items[index])) continue;
			found = this.items[index];
			left -= 1;
		}
		if (found) this.show(this.how.key(found), { focus: true });
	}

	/** From the search box above it. */
	enter() {
		this.#activate(null);
		this.move(1);
	}

	openActive() {
		const item = this.active === null ? null : this.find(this.active);
		if (item) this.how.open?.(item, this.rows.get(this.active), "key");
	}

	/** Keys that work while the list, or nothing in particular, has the focus. Answers whether it was one of them. */
	press(event) {
		const page = Math.max(1, Math.floor(this.element.clientHeight / 60));
		const moves = {
			j: 1,
			k: -1,
			ArrowDown: 1,
			ArrowUp: -1,
			PageDown: page,
			PageUp: -page,
			Home: -Infinity,
			End: Infinity,
		};
		if (event.key in moves) this.move(moves[event.key]);
		else if (event.key === "Enter" || event.key === "o") this.openActive();
		else return false;
		return true;
	}

	#activate(key) {
		const before = this.rows.get(this.active);
		if (before) before.tabIndex = -1;
		this.active = key;
		this.element.tabIndex = key === null ? 0 : -1;
		const row = this.rows.get(key);
		if (row) row.tabIndex = 0;
	}

	#click(event) {
		const row = event.target.closest(".vrow");
		if (!row || event.target.closest("a, button, input, select, textarea, label, summary")) return;
		if (!getSelection().isCollapsed) return; // somebody copies from it
		const item = this.find(row.vkey);
		if (!item || !this.how.selectable(item)) return;
		this.#activate(row.vkey);
		this.how.open?.(item, row, "click");
	}

	#focus(event) {
		const row = event.target.closest(".vrow");
		if (row && row.vkey !== this.active && this.how.selectable(this.find(row.vkey))) this.#activate(row.vkey);
	}

	/** The first row in sight, and how far it is from the top. */
	#anchor() {
		const { scrollTop } = this.element;
		const index = this.#at(scrollTop);
		return this.items[index] && { key: this.how.key(this.items[index]), by: scrollTop - this.tops[index] };
	}

	#restore({ key, by }) {
		const index = this.places.get(key);
		if (index !== undefined) this.element.scrollTop = this.tops[index] + by;
	}

	/** The index of the row at a height. */
	#at(height) {
		let low = 0,
			high = this.items.length;
		while (low < high) {
			const middle = (low + high) >> 1;
			if (this.tops[middle + 1] <= height) low = middle + 1;
			else high = middle;
		}
		return low;
	}

	#measureAll() {
		const { items, heights, how, width } = this;
		const tops = new Float64Array(items.length + 1);
		for (let index = 0; index < items.length; index += 1) {
			tops[index + 1] = tops[index] + (heights.get(how.key(items[index])) ?? how.estimate(items[index], width));
		}
		this.tops = tops;
		this.canvas.style.height = `${tops[items.length]}px`;
	}

	#resize() {
		const width = this.element.clientWidth;
		if (width !== this.width) {
			const anchor = this.width && this.element.scrollTop >= 2 ? this.#anchor() : null;
			this.width = width;
			this.heights.clear();
			this.#measureAll();
			for (const row of this.rows.values()) row.vheight = 0;
			if (anchor) this.#restore(anchor);
		}
		this.paint();
	}

	#soon() {
		if (this.waiting) return;
		this.waiting = true;
		requestAnimationFrame(() => {
			this.waiting = false;
			this.paint();
		});
	}

	/** Puts into the document what is in sight, and takes out what is not. */
	paint() {
		if (!this.element.clientHeight) return;
		const before = this.element.scrollTop < 2 ? null : this.#anchor();
		for (let round = 0; round < 4; round += 1) {
			if (!this.#paintOnce()) break;
			if (before) this.#restore(before);
		}
		this.#place();
		if (this.how.moved) this.how.moved(this.items[this.#at(this.element.scrollTop)] ?? null);
		if (this.how.reach && this.element.scrollTop + 2 * this.element.clientHeight >= this.tops[this.items.length]) {
			this.how.reach();
		}
	}

	/** Answers whether a row turned out to be of another height than was thought. */
	#paintOnce() {
		const { scrollTop, clientHeight } = this.element;
		const wanted = new Set();
		const first = this.#at(Math.max(0, scrollTop - MARGIN));
		for (
			let index = first;
			index < this.items.length && this.tops[index] < scrollTop + clientHeight + MARGIN;
			index += 1
		) {
			wanted.add(index);
		}
		// Who has the focus keeps it, out of sight as well.
		const focused = document.activeElement?.closest?.(".vrow");
		if (focused?.parentNode === this.canvas && this.places.has(focused.vkey)) wanted.add(this.places.get(focused.vkey));
		const indices = [...wanted].sort((a, b) => a - b);
		const keys = new Set(indices.map(index => this.how.key(this.items[index])));
		for (const [key, row] of this.rows) {
			if (!keys.has(key)) this.#drop(key, row);
		}
		this.#fill(indices);
		return this.#measure();
	}

	#fill(indices) {
		let next = this.canvas.firstChild;
		for (const index of indices) {
			const key = this.how.key(this.items[index]);
			let row = this.rows.get(key);
			if (!row) {
				row = this.#make(index, key);
				this.rows.set(key, row);
			}
			if (row === next) next = next.nextSibling;
			else this.canvas.insertBefore(row, next);
		}
	}

	#make(index, key) {
		const item = this.items[index];
		const row = this.how.render(item, index);
		row.classList.add("vrow");
		row.vkey = key;
		row.vitem = item;
		if (!row.hasAttribute("role")) row.setAttribute("role", "listitem");
		this.#number(row, index);
		if (this.how.selectable(item)) row.tabIndex = key === this.active ? 0 : -1;
		row.setAttribute("aria-current", String(key === this.opened));
		return row;
	}

	#number(row, index) {
		const isRow = row.getAttribute("role") === "row";
		if (!isRow) row.setAttribute("aria-setsize", this.items.length);
		row.setAttribute(isRow ? "aria-rowindex" : "aria-posinset", index + (isRow ? 2 : 1));
	}

	#drop(key, row) {
		row.remove();
		this.rows.delete(key);
	}

	#measure() {
		const changes = new Map(); // index → pixels
		for (const [key, row] of this.rows) {
			if (row.vheight) continue;
			row.vheight = row.getBoundingClientRect().height;
			this.heights.set(key, row.vheight);
			const index = this.places.get(key);
			const change = row.vheight - (this.tops[index + 1] - this.tops[index]);
			if (Math.abs(change) > 0.1) changes.set(index, change);
		}
		if (!changes.size) return false;
		let by = 0;
		for (let index = Math.min(...changes.keys()); index < this.items.length; index += 1) {
			by += changes.get(index) ?? 0;
			this.tops[index + 1] += by;
		}
		this.canvas.style.height = `${this.tops[this.items.length]}px`;
		return true;
	}

	#place() {
		for (const [key, row] of this.rows) {
			const top = `translateY(${this.tops[this.places.get(key)]}px)`;
			if (row.style.transform !== top) row.style.transform = top;
		}
	}
}
