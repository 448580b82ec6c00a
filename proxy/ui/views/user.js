/** One user: who it is, and the tabs. */

import { access, eraseUser, exportMemories } from "../api.js";
import { when } from "../detail.js";
import { bdi, button, h, icon, replace } from "../dom.js";
import { bytes, count, number, relative } from "../format.js";
import { forget, memoriesOf, scopeKey } from "../memories.js";
import { pending } from "../pending.js";
import { address, addressOf } from "../router.js";
import { complain, dialog, note, showReceipts } from "../talk.js";
import { InjectionTab } from "./injection.js";
import { MemoriesTab } from "./memories.js";
import { SearchTab } from "./search.js";
import { TimeTab } from "./time.js";

const TABS = {
	memories: ["Memories", MemoriesTab],
	search: ["Search", SearchTab],
	injection: ["What would be injected", InjectionTab],
	time: ["Over time", TimeTab],
};

export class UserView {
	constructor(route) {
		this.heading = h("h1", { tabindex: "-1" });
		this.facts = h("p.aside.user-facts", { role: "status" });
		this.progress = h("progress", { "aria-label": "Loading memories", hidden: true });
		this.tools = h("div.row.tools");
		this.tabs = h("nav.tabs", { "aria-label": "Views of this user" });
		this.body = h("div.tab-body");
		this.element = h(
			"section.view.fill",
			h("header.view-head.user-head", h("div.who", this.heading, this.facts, this.progress), this.tools),
			this.tabs,
			this.body,
		);
		this.onchange = () => this.#paintFacts();
		this.onpending = () => this.tab?.restrike?.();
		pending.addEventListener("change", this.onpending);
		this.update(route);
	}

	get title() {
		return this.scope.user;
	}

	get search() {
		return this.tab?.search;
	}

	update(route) {
		if (!this.scope || scopeKey(this.scope) !== scopeKey(route.scope)) this.#meet(route.scope);
		const [, Tab] = TABS[route.tab];
		for (const link of this.tabs.children) {
			if (link.id !== `tab-${route.tab}`) link.removeAttribute("aria-current");
			else link.setAttribute("aria-current", "page");
		}
		this.tabs.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
		if (this.tab instanceof Tab && this.tab.memories === this.memories) {
			this.tab.update(route);
			return;
		}
		this.tab?.unmount();
		this.tab = new Tab(this.memories, route);
		replace(this.body, this.tab.element);
		this.tab.mounted?.();
	}

	#meet(scope) {
		this.memories?.removeEventListener("change", this.onchange);
		this.scope = scope;
		this.memories = memoriesOf(scope);
		this.memories.addEventListener("change", this.onchange);
		replace(
			this.heading,
			h("a", { href: address("users") }, "Users"),
			h("span.aside", { "aria-hidden": "true" }, "/"),
			bdi(scope.user),
			scope.tenant && h("span.tag", bdi(scope.tenant)),
		);
		replace(
			this.tools,
			access.readOnly
				? h(
						"span.tag.readonly",
						{ title: "The token, or the configuration, allows to look and nothing else." },
						icon("lock"),
						"Read only",
					)
				: button("Add memory", () => this.add(), { name: "plus" }),
			button("Export", () => this.#export(), { name: "download", title: "All memories as JSON Lines" }),
			!access.readOnly && button("Erase user …", () => this.#eraseUser(), { name: "erase", kind: "careful" }),
		);
		replace(
			this.tabs,
			Object.entries(TABS).map(([key, [label]]) => h("a", { id: `tab-${key}`, href: addressOf(scope, key) }, label)),
		);
		this.memories.load();
		this.#paintFacts();
	}

	#paintFacts() {
		const { memories } = this;
		const { all, superseded } = memories.counts();
		const busy = !memories.complete && !memories.failure;
		this.progress.hidden = !busy;
		if (busy && memories.expected) {
			this.progress.max = Math.max(memories.expected, all);
			this.progress.value = all;
		}
		const said = [];
		if (busy)
			said.push(
				memories.expected ? `Loading ${number(all)} of ${number(Math.max(memories.expected, all))} …` : "Loading …",
			);
		else said.push(count(all, "memory", "memories"));
		if (!busy && superseded) said.push(`${number(superseded)} superseded`);
		const newest = memories.list[0];
		const oldest = memories.list.at(-1);
		const parts = [said.join(" · ")];
		if (!busy && newest) {
			parts.push(
				" · since ",
				when(oldest.created_at, relative(oldest.created_at)),
				" · last ",
				when(newest.created_at, relative(newest.created_at)),
			);
		}
		replace(this.facts, parts);
	}

	add() {
		if (access.readOnly) return;
		const box = h("textarea", {
			"aria-label": "What to remember",
			rows: 5,
			maxlength: 100_000,
			dir: "auto",
			placeholder: "Prefers metric units.",
		});
		const save = button(
			"Remember",
			async () => {
				if (!box.value.trim()) return void box.focus();
				save.disabled = true;
				try {
					const memory = await this.memories.add(box.value);
					box.value = "";
					open.close();
					note("Remembered.");
					location.hash = addressOf(this.scope, "memories", { memory: memory.id });
				} catch (error) {
					complain(error);
					save.disabled = false;
				}
			},
			{ kind: "primary", title: "Ctrl+Enter" },
		);
		box.addEventListener("keydown", event => {
			if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save.click();
		});
		const open = dialog("Add a memory", [
			h(
				"div.body",
				h("p", "It is kept as if the user had said it, and wins over what is said or extracted later."),
				box,
			),
			h("footer", save),
		]);
		box.focus();
	}

	async #export() {
		note("The export is being made.");
		try {
			const blob = await exportMemories(this.scope);
			const link = h("a", {
				href: URL.createObjectURL(blob),
				download: `memories-${this.scope.user.replace(/[^\w.@-]+/g, "_").slice(0, 80)}.jsonl`,
			});
			link.click();
			setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
			note(`Exported ${bytes(blob.size)}.`);
		} catch (error) {
			complain(error);
		}
	}

	#eraseUser() {
		const { user } = this.scope;
		const typed = h("input", {
			type: "text",
			id: "erase-id",
			autocomplete: "off",
			spellcheck: "false",
			dir: "auto",
			oninput: () => {
				erase.disabled = typed.value !== user;
			},
		});
		const erase = button(
			"Erase this user",
			async () => {
				erase.disabled = true;
				try {
					const receipt = await eraseUser(this.scope);
					open.close();
					pending.drop(this.scope);
					forget(this.scope);
					location.hash = address("users");
					showReceipts([receipt]);
				} catch (error) {
					complain(error);
					erase.disabled = false;
				}
			},
			{ kind: "danger", disabled: true },
		);
		const open = dialog("Erase this user", [
			h(
				"div.body",
				h(
					"p",
					"All memories of this user, their keys, and what waits in the journal are erased for good. Nobody can bring them back.",
				),
				h("p", h("label", { for: "erase-id" }, "Type the id to confirm: ", h("strong", bdi(user)))),
				typed,
			),
			h("footer", erase),
		]);
		typed.focus();
	}

	press(event) {
		if (event.key === "a") {
			this.add();
			return true;
		}
		return this.tab.press(event);
	}

	escape() {
		return this.tab.escape?.() ?? false;
	}

	unmount() {
		this.memories.removeEventListener("change", this.onchange);
		pending.removeEventListener("change", this.onpending);
		this.tab.unmount();
	}
}
