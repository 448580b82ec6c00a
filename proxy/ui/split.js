/** A list, and beside it the details of what was chosen there: on narrow screens in its place, as a dialog. */

import { button, h, replace } from "./dom.js";

const NARROW = matchMedia("(max-width: 899px)");

export class Split {
	/** *closed* is called when the details have been closed by whoever looks at them. */
	constructor(list, { label, closed }) {
		this.label = label;
		this.closed = closed;
		this.aside = h("section.detail", { "aria-label": label, tabindex: "-1" });
		this.element = h("div.split", list, this.aside);
		this.open = false;
		this.sheet = null;
		this.content = null;
		this.onchange = () => this.open && this.#put();
		NARROW.addEventListener("change", this.onchange);
	}

	/** Shows *content* as the details. *focus*: somebody asked for it with a key. */
	show(content, { focus = false, scroll = true } = {}) {
		this.open = true;
		this.element.classList.add("open");
		this.content = content;
		const kept = scroll ? 0 : this.aside.scrollTop;
		this.#put();
		this.aside.scrollTop = kept;
		if (focus && !NARROW.matches) this.aside.focus();
	}

	#put() {
		if (!NARROW.matches) {
			this.#dismiss();
			replace(this.aside, this.#bar(), this.content);
			return;
		}
		replace(this.aside);
		if (!this.sheet) {
			this.sheet = h("dialog.sheet", { "aria-label": this.label });
			this.sheet.addEventListener("close", () => this.sheet && this.close());
			document.body.append(this.sheet);
			replace(this.sheet, this.#bar(), h("div.detail", this.content));
			this.sheet.showModal();
		} else {
			replace(this.sheet, this.#bar(), h("div.detail", this.content));
		}
	}

	#bar() {
		return h(
			"div.detail-bar",
			h("h2", this.label),
			button("Close", () => this.close(), { name: "close", only: true, kind: "quiet" }),
		);
	}

	#dismiss() {
		const { sheet } = this;
		this.sheet = null;
		sheet?.close();
		sheet?.remove();
	}

	/** Answers whether anything was open. */
	close() {
		if (!this.open) return false;
		this.open = false;
		this.content = null;
		this.#dismiss();
		this.element.classList.remove("open");
		replace(this.aside);
		this.closed?.();
		return true;
	}

	unmount() {
		NARROW.removeEventListener("change", this.onchange);
		this.open = false;
		this.#dismiss();
	}
}
