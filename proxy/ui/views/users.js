/** Who is known, latest activity first. */

import { access, listUsers } from "../api.js";
import { when } from "../detail.js";
import { bdi, h, replace, searchBox, select } from "../dom.js";
import { number, relative } from "../format.js";
import { VirtualList } from "../list.js";
import { address, addressOf, rewrite } from "../router.js";
import { empty, failed, loading, say } from "../talk.js";

const DEBOUNCE_MS = 180;
const PAGE = 200;

// Who goes back to the list finds it where it was.
const last = { key: null, users: [], cursor: null, scrollTop: 0, active: null };

export class UsersView {
	title = "Users";

	constructor(route) {
		this.search = searchBox("Find a user", "Find a user", {
			oninput: () => this.#later(),
			onkeydown: event => this.#typed(event),
		});
		this.tenants = h("span");
		this.list = new VirtualList({
			label: "Users",
			key: user => `${user.tenant ?? ""}\n${user.user_id}`,
			render: user => this.#render(user),
			estimate: () => 40,
			open: user => {
				location.hash = addressOf(scopeOf(user));
			},
			reach: () => this.#more(),
		});
		this.state = h("div.state");
		this.found = h("p.aside", { role: "status" });
		this.heading = h("h1", { tabindex: "-1" }, "Users");
		this.head = h("div.columns.user-row", { "aria-hidden": "true" });
		this.element = h(
			"section.view.fill",
			h("header.view-head", this.heading, h("div.row.tools", this.search, this.tenants, this.found)),
			h("div.listing", this.head, this.state, this.list.element),
		);
		this.update(route);
	}

	update({ params }) {
		this.text = params.get("search") ?? "";
		this.tenant = params.get("tenant") ?? "";
		if (this.search.value !== this.text) this.search.value = this.text;
		const several = access.hasTenants || access.tenants.length > 0;
		replace(
			this.tenants,
			several &&
				select(
					"Tenant",
					[["", "All tenants"], ...access.tenants.map(name => [name, name])],
					tenant => this.#go(this.search.value.trim(), tenant),
					this.tenant,
				),
		);
		replace(
			this.head,
			h("span", "User"),
			several && h("span", "Tenant"),
			h("span.number", "Memories"),
			h("span.number", "Last activity"),
		);
		this.element.classList.toggle("with-tenants", several);
		const key = `${this.text}\n${this.tenant}`;
		if (last.key === key && last.users.length) this.#recall();
		else this.#load(key);
	}

	#recall() {
		this.users = last.users;
		this.cursor = last.cursor;
		this.#paint();
		requestAnimationFrame(() => {
			this.list.element.scrollTop = last.scrollTop;
			if (last.active) this.list.show(last.active);
		});
		// What has changed meanwhile is at the top.
		if (last.scrollTop < 2) this.#load(last.key);
	}

	#later() {
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.#go(this.search.value.trim(), this.tenant), DEBOUNCE_MS);
	}

	#go(search, tenant) {
		rewrite(address("users", { search, tenant }));
		this.text = search;
		this.tenant = tenant;
		this.#load(`${search}\n${tenant}`);
	}

	/** Enter on what is an id to the letter opens it, also before the list has come. */
	async #typed(event) {
		if (event.key === "ArrowDown" && this.list.length) {
			event.preventDefault();
			this.list.enter();
		}
		if (event.key !== "Enter" || !this.search.value.trim()) return;
		event.preventDefault();
		clearTimeout(this.timer);
		const id = this.search.value.trim();
		rewrite(address("users", { search: id, tenant: this.tenant }), { now: true }); // who comes back finds it
		try {
			const { users } = await listUsers({ search: id, tenant: this.tenant || null, limit: 1000 });
			const same = users.filter(user => user.user_id === id);
			const found = same.length === 1 ? same[0] : users.length === 1 ? users[0] : null;
			if (found) location.hash = addressOf(scopeOf(found));
			else this.#go(id, this.tenant);
		} catch (error) {
			this.#fail(error);
		}
	}

	async #load(key) {
		this.running?.abort();
		const run = (this.running = new AbortController());
		if (!this.users) replace(this.state, loading());
		try {
			const page = await listUsers({ search: this.text, tenant: this.tenant || null, limit: PAGE }, run.signal);
			this.users = page.users;
			this.cursor = page.cursor;
			Object.assign(last, { key, scrollTop: 0, active: null });
			this.#paint(true);
			if (this.text) say(this.found.textContent);
		} catch (error) {
			if (error.name !== "AbortError") this.#fail(error);
		}
	}

	async #more() {
		if (!this.cursor || this.fetching) return;
		this.fetching = true;
		const { users, cursor } = this;
		try {
			const page = await listUsers(
				{ search: this.text, tenant: this.tenant || null, cursor, limit: PAGE },
				this.running?.signal,
			);
			if (this.users === users) {
				const known = new Set(users.map(this.list.how.key));
				// Who has been active meanwhile has moved up and may come twice.
				this.users = [...users, ...page.users.filter(user => !known.has(this.list.how.key(user)))];
				this.cursor = page.cursor;
				this.fetching = false;
				this.#paint();
			}
		} catch (error) {
			if (error.name !== "AbortError") this.#fail(error);
		} finally {
			this.fetching = false;
		}
	}

	#fail(error) {
		if (error.status !== 401)
			replace(
				this.state,
				failed(error, () => this.#load(`${this.text}\n${this.tenant}`)),
			);
	}

	#paint(top = false) {
		const { users } = this;
		Object.assign(last, { users, cursor: this.cursor });
		replace(
			this.state,
			users.length === 0 &&
				(this.text
					? empty("Nobody found", `No user's id contains “${this.text}”.`)
					: empty("Nobody is known yet", "Users appear here when a chat of theirs has been remembered.")),
		);
		this.head.hidden = users.length === 0;
		this.found.textContent = `${number(users.length)}${this.cursor ? " or more" : ""} ${users.length === 1 ? "user" : "users"}`;
		this.list.setItems(users, { top });
	}

	#render(user) {
		return h(
			"div.user-row",
			h("a.user-id", { href: addressOf(scopeOf(user)), tabindex: "-1" }, bdi(user.user_id)),
			this.element.classList.contains("with-tenants") && h("span.tenant", bdi(user.tenant ?? "")),
			h("span.number", { title: `${number(user.memories)} memories` }, number(user.memories)),
			h("span.number.aside", user.last_activity ? when(user.last_activity, relative(user.last_activity)) : "–"),
		);
	}

	press(event) {
		return this.list.press(event);
	}

	unmount() {
		clearTimeout(this.timer);
		this.running?.abort();
		last.scrollTop = this.list.element.scrollTop;
		last.active = this.list.active;
	}
}

const scopeOf = user => ({ user: user.user_id, tenant: user.tenant ?? "" });
