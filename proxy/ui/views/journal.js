/** What waits to be stored, and what could not be. */

import { access, dropJournal, readJournal, retryJournal } from "../api.js";
import { bdi, button, h, replace } from "../dom.js";
import { count, fixed, number } from "../format.js";
import { addressOf } from "../router.js";
import { when } from "../detail.js";
import { complain, dialog, empty, failed, loading, note } from "../talk.js";

const POLL_MS = 5_000;
const STAGES = { store: "storing", extract: "extracting facts" };

export class JournalView {
	title = "Journal";

	constructor() {
		this.heading = h("h1", { tabindex: "-1" }, "Journal");
		this.retry = button("Try all again", () => this.#retry(), { name: "refresh", hidden: true });
		this.drop = button("Give all up", () => this.#drop(), { name: "erase", kind: "careful", hidden: true });
		this.body = h("div.journal", loading());
		this.element = h(
			"section.view.scrolls",
			h("header.view-head", this.heading, h("div.row.tools", this.retry, this.drop)),
			this.body,
		);
		this.running = new AbortController();
		this.#load();
	}

	async #load() {
		try {
			this.#paint(await readJournal(this.running.signal));
		} catch (error) {
			if (error.name === "AbortError" || error.status === 401) return;
			this.told = null;
			replace(
				this.body,
				failed(error, () => this.#load()),
			);
		}
		clearTimeout(this.timer);
		if (!this.running.signal.aborted) this.timer = setTimeout(() => this.#load(), POLL_MS);
	}

	#paint(page) {
		const told = JSON.stringify(page);
		if (told === this.told) return; // who reads it keeps the place
		this.told = told;
		this.failed = page.failed;
		this.retry.hidden = this.drop.hidden = access.readOnly || page.failed === 0;
		const figure = (name, value, kind = "") =>
			h("div.figure", { class: kind || null }, h("dt", name), h("dd.number", value));
		replace(
			this.body,
			h(
				"dl.figures",
				figure("Waiting to be stored", number(page.pending)),
				figure("Waiting for facts", number(page.extracting)),
				figure("Set aside", number(page.failed), page.failed ? "bad" : ""),
				figure("Oldest waits", page.oldest_age_s === null ? "–" : `${fixed(page.oldest_age_s, 0)} s`),
			),
			page.trouble && h("p.banner.bad", { role: "alert" }, "Storing fails at present: ", bdi(page.trouble)),
			page.entries.length === 0
				? empty(
						"Nothing is set aside",
						"What could not be stored after several attempts would be listed here, with the reason.",
					)
				: this.#table(page),
		);
	}

	#table(page) {
		return h(
			"div.table-box",
			{ tabindex: "0", role: "region", "aria-label": "Set aside" },
			h(
				"table.plain",
				h(
					"caption",
					page.entries.length < page.failed
						? `The first ${number(page.entries.length)} of ${number(page.failed)} that were set aside`
						: `${count(page.failed, "exchange was", "exchanges were")} set aside; a chat is never held up by it`,
				),
				h(
					"thead",
					h(
						"tr",
						["User", "Failed at", "Attempts", "Reason", "From"].map(name => h("th", { scope: "col" }, name)),
					),
				),
				h(
					"tbody",
					page.entries.map(entry =>
						h(
							"tr",
							h(
								"td",
								h("a", { href: addressOf({ user: entry.user_id, tenant: entry.tenant ?? "" }) }, bdi(entry.user_id)),
							),
							h("td", STAGES[entry.stage] ?? entry.stage),
							h("td.number", number(entry.attempts)),
							h("td.reason", bdi(entry.reason)),
							h("td.nowrap", when(entry.created_at)),
						),
					),
				),
			),
		);
	}

	async #retry() {
		this.retry.disabled = true;
		try {
			const { retried } = await retryJournal();
			note(`${count(retried, "exchange is", "exchanges are")} tried again.`);
			this.#load();
		} catch (error) {
			complain(error);
		} finally {
			this.retry.disabled = false;
		}
	}

	#drop() {
		const what = count(this.failed, "exchange", "exchanges");
		const drop = button(
			"Give up for good",
			async () => {
				drop.disabled = true;
				try {
					const { dropped } = await dropJournal();
					open.close();
					note(`${count(dropped, "exchange is", "exchanges are")} given up.`);
					this.#load();
				} catch (error) {
					complain(error);
					drop.disabled = false;
				}
			},
			{ kind: "danger" },
		);
		const open = dialog("Give all up", [
			h("div.body", h("p", `What was said in ${what} will never be remembered. Nobody can bring it back.`)),
			h("footer", drop),
		]);
	}

	update() {}

	press() {
		return false;
	}

	unmount() {
		this.running.abort();
		clearTimeout(this.timer);
	}
}
