/** One user's memories, as far as they have been loaded, and what can be asked of them without the proxy. */

import { changeMemory, addMemory, listMemories, listUsers } from "./api.js";
import { dayKey } from "./format.js";

// While pages come in, views are told so often at most: making them anew with each page would be felt.
const TELL_MS = 300;
const KEPT_USERS = 2;

const kept = new Map();

export const scopeKey = ({ user, tenant }) => `${tenant}\n${user}`;
export const memoryKey = (scope, id) => `${scopeKey(scope)}\n${id}`;

/** What somebody has typed and not saved, by memoryKey: going elsewhere in the page loses nothing. */
export const drafts = new Map();

addEventListener("beforeunload", event => {
	if (drafts.size) event.preventDefault();
});

/** The memories of a user; those of the users looked at last are kept. */
export function memoriesOf(scope) {
	const key = scopeKey(scope);
	const found = kept.get(key) ?? new Memories(scope);
	kept.delete(key);
	kept.set(key, found);
	for (const [old, memories] of kept) {
		if (kept.size <= KEPT_USERS) break;
		memories.stop();
		kept.delete(old);
	}
	return found;
}

/** Those that are kept, or null. */
export const keptOf = scope => kept.get(scopeKey(scope)) ?? null;

/** A user is erased. */
export function forget(scope) {
	const key = scopeKey(scope);
	kept.get(key)?.stop();
	kept.delete(key);
	for (const one of drafts.keys()) if (one.startsWith(`${key}\n`)) drafts.delete(one);
}

const placeOf = (conversation, index) => `${conversation}\n${index}`;

/** Events "change": what there is has changed, or how far loading is. */
export class Memories extends EventTarget {
	constructor(scope) {
		super();
		this.scope = scope;
		this.expected = null; // how many there are, by the list of users
		this.complete = false;
		this.failure = null;
		this.running = null;
		this.#take([]);
	}

	#take(list) {
		this.list = list; // newest first, those included that no longer hold
		this.byId = new Map();
		this.replaced = new Map(); // id → ids of those in whose place it stands
		this.places = new Map();
		for (const memory of list) this.#index(memory);
	}

	#index(memory) {
		this.byId.set(memory.id, memory);
		if (memory.superseded_by) {
			const others = this.replaced.get(memory.superseded_by);
			if (others) others.push(memory.id);
			else this.replaced.set(memory.superseded_by, [memory.id]);
		}
		if (memory.kind === "turn") {
			const place = placeOf(memory.conversation_id, memory.message_index);
			const other = this.byId.get(this.places.get(place));
			if (!other || other.superseded_by) this.places.set(place, memory.id);
		}
	}

	/** Loads all of them, page by page, unless that is done or under way. */
	load() {
		if (this.complete || this.running) return;
		this.running = new AbortController();
		this.failure = null;
		this.#count(this.running.signal);
		this.#loadAll(this.running, true);
	}

	/** Loads all of them anew; what is shown meanwhile stays. */
	reload() {
		this.running?.abort();
		this.running = new AbortController();
		this.failure = null;
		this.#loadAll(this.running, !this.complete);
	}

	stop() {
		this.running?.abort();
		this.running = null;
	}

	async #count({ aborted }) {
		try {
			const { user, tenant } = this.scope;
			const { users } = await listUsers({ search: user, tenant: tenant || null, limit: 50 });
			const found = users.find(row => row.user_id === user && (row.tenant ?? "") === tenant);
			if (found && !aborted) this.expected = found.memories;
		} catch {
			// How far loading is cannot be said, then.
		}
	}

	async #loadAll(run, growing) {
		const list = [];
		let told = 0;
		try {
			for (let cursor = null, first = true; first || cursor; first = false) {
				const page = await listMemories(this.scope, cursor, run.signal);
				for (const memory of page.memories) list.push(enrich(memory));
				cursor = page.cursor;
				if (growing && cursor && performance.now() - told > TELL_MS) {
					told = performance.now();
					this.#take(list.slice());
					this.#tell();
				}
			}
		} catch (error) {
			if (error.name === "AbortError") return;
			this.failure = error;
			this.running = null;
			this.#tell();
			return;
		}
		this.#take(list);
		this.complete = true;
		this.running = null;
		this.#tell();
	}

	#tell() {
		this.dispatchEvent(new CustomEvent("change"));
	}

	/** Takes erased memories out. */
	remove(ids) {
		this.#take(this.list.filter(memory => !ids.has(memory.id)));
		this.#tell();
	}

	#put(memory) {
		const list = this.list.filter(other => other.id !== memory.id);
		list.push(enrich(memory));
		this.#take(list.sort((a, b) => b.at - a.at));
		this.#tell();
		// Others may have been superseded by it, or hold again.
		if (this.complete) this.reload();
	}

	async add(text) {
		const memory = await addMemory(this.scope, text);
		this.#put(memory);
		return memory;
	}

	async change(id, change) {
		const memory = await changeMemory(this.scope, id, change);
		this.#put(memory);
		return memory;
	}

	/** The message at a place of a conversation, if it is stored and loaded. */
	at(conversation, index) {
		return this.byId.get(this.places.get(placeOf(conversation, index))) ?? null;
	}

	/**
	 * All that took each other's place, the oldest first: everything that leads to the memory that holds now, *memory*
	 * among it. *gap*: what took the place of the last one is not there (any more).
	 */
	chain(memory) {
		let top = memory;
		const seen = new Set([top.id]);
		while (top.superseded_by && this.byId.has(top.superseded_by) && !seen.has(top.superseded_by)) {
			top = this.byId.get(top.superseded_by);
			seen.add(top.id);
		}
		const members = [];
		const waiting = [top.id];
		const taken = new Set();
		while (waiting.length) {
			const id = waiting.pop();
			if (taken.has(id) || !this.byId.has(id)) continue;
			taken.add(id);
			members.push(this.byId.get(id));
			waiting.push(...(this.replaced.get(id) ?? []));
		}
		members.sort((a, b) => a.at - b.at || (a.superseded_by === b.id ? -1 : 1));
		return { members, gap: Boolean(top.superseded_by) };
	}

	/** How many are loaded, hold, and no longer do. */
	counts() {
		const superseded = this.list.reduce((sum, memory) => sum + (memory.superseded_by ? 1 : 0), 0);
		return { all: this.list.length, superseded, holding: this.list.length - superseded };
	}

	/** Those that fit, in their order. */
	filter({ text = "", kind = "", role = "", origin = "", from = "", to = "", superseded = "", conversation = "" }) {
		const words = wordsOf(text);
		return this.list.filter(
			memory =>
				(superseded === "all" || (superseded === "only") === Boolean(memory.superseded_by)) &&
				(!kind || memory.kind === kind) &&
				(!role || memory.role === role) &&
				(!origin || (memory.origin ?? "said") === origin) &&
				(!from || memory.day >= from) &&
				(!to || memory.day <= to) &&
				(!conversation || memory.conversation_id === conversation) &&
				words.every(word => haystack(memory).includes(word)),
		);
	}
}

/** The words of a filter, as they are looked for. */
export const wordsOf = text => text.toLowerCase().split(/\s+/).filter(Boolean);

const haystacks = new WeakMap();

function haystack(memory) {
	let text = haystacks.get(memory);
	if (text === undefined) {
		text = `${memory.text}\n${memory.name ?? ""}`.toLowerCase();
		haystacks.set(memory, text);
	}
	return text;
}

/** With what sorting and grouping need of its date, worked out once. */
function enrich(memory) {
	memory.at = Date.parse(memory.created_at);
	memory.day = dayKey(memory.created_at);
	return memory;
}
