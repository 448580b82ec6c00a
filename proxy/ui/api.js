/** What the page asks the proxy for. */

// Relative to this file: the proxy may stand under a path of another server.
const ROOT = new URL("../", import.meta.url);
const TOKEN = "memory-proxy.token";
const PAGE = 1000;

/** A request that was not answered as hoped. *status* is 0 where nobody answered at all. */
export class Failure extends Error {
	constructor(status, code, message, retryAfter = null) {
		super(message);
		this.status = status;
		this.code = code;
		this.retryAfter = retryAfter;
	}
}

/** Told of every answer: whether the proxy answers, and whether it wants a token. */
export const watch = new EventTarget();

export const token = {
	get: () => sessionStorage.getItem(TOKEN),
	set: value => (value ? sessionStorage.setItem(TOKEN, value) : sessionStorage.removeItem(TOKEN)),
};

function headers(more = {}) {
	const secret = token.get();
	if (!secret) return more;
	// What is no ASCII can be in no header; the proxy will say that it is wrong.
	return { ...more, Authorization: `Bearer ${/^[\x21-\x7e]+$/.test(secret) ? secret : "?"}` };
}

/** The response to a request, whatever its body is. Raises a Failure for all but 2xx and the status *also*. */
export async function send(method, path, { query = {}, body, signal, accept, more = {}, also = 200 } = {}) {
	const url = new URL(path, ROOT);
	for (const [key, value] of Object.entries(query)) {
		if (value !== null && value !== undefined) url.searchParams.set(key, value);
	}
	const sent = body === undefined ? more : { ...more, "Content-Type": "application/json" };
	let response;
	try {
		response = await fetch(url, {
			method,
			signal,
			headers: headers(accept ? { ...sent, Accept: accept } : sent),
			body: body === undefined ? undefined : JSON.stringify(body),
			cache: "no-store",
			credentials: "omit",
		});
	} catch (error) {
		if (error.name === "AbortError") throw error;
		watch.dispatchEvent(new CustomEvent("away"));
		throw new Failure(0, "unreachable", "The proxy does not answer.");
	}
	watch.dispatchEvent(new CustomEvent("answer"));
	if (response.ok || response.status === also) return response;
	throw await readFailure(response);
}

async function readFailure(response) {
	const wait = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
	let told = null;
	try {
		told = (await response.json()).error;
	} catch {
		// Not the proxy's own: something between here and there.
	}
	const message = told?.message ?? `The answer was ${response.status} ${response.statusText}`.trim();
	const failure = new Failure(response.status, told?.code ?? "", message, Number.isNaN(wait) ? null : wait);
	if (failure.status === 401) watch.dispatchEvent(new CustomEvent("locked"));
	return failure;
}

async function ask(method, path, options) {
	return (await send(method, path, options)).json();
}

/** The path of a user. Browsers take "." and ".." for steps in it, however they are written. */
function pathOf({ user }, rest = "") {
	if (user === "." || user === "..") {
		throw new Failure(0, "unaskable", `No browser can ask for a user who is called "${user}". The command line can.`);
	}
	return `memory/users/${encodeURIComponent(user)}${rest}`;
}

const one = id => `/memories/${encodeURIComponent(id)}`;
const whose = ({ tenant }) => ({ tenant: tenant || (access.tenants.length ? "" : null) });

/** What the proxy has said of who looks at it. */
export const access = { readOnly: true, content: false, tenants: [], budget: 1000, version: "" };

export async function readAccess() {
	const told = await ask("GET", "memory/access");
	Object.assign(access, {
		readOnly: told.read_only,
		content: told.content,
		tenants: told.tenants,
		budget: told.budget_tokens,
		version: told.version,
		mode: told.mode,
		placement: told.placement,
		embedding: told.embedding,
	});
	return access;
}

export const listUsers = ({ search, tenant, cursor, limit = 100 }, signal) =>
	ask("GET", "memory/users", { query: { search: search || null, tenant, cursor, limit }, signal });

export const listMemories = (scope, cursor, signal) =>
	ask("GET", pathOf(scope, "/memories"), {
		query: { ...whose(scope), include: "superseded", limit: PAGE, cursor },
		signal,
	});

export const searchMemories = (scope, query, limit, signal) =>
	ask("POST", pathOf(scope, "/search"), { query: whose(scope), body: { query, limit }, signal });

export const tryRecall = (scope, body, signal) =>
	ask("POST", pathOf(scope, "/recall"), { query: whose(scope), body, signal });

export const addMemory = (scope, text) =>
	ask("POST", pathOf(scope, "/memories"), { query: whose(scope), body: { text } });

export const changeMemory = (scope, id, change) =>
	ask("PATCH", pathOf(scope, one(id)), { query: whose(scope), body: change });

export const eraseMemory = (scope, id) => ask("DELETE", pathOf(scope, one(id)), { query: whose(scope) });

export const eraseUser = scope => ask("DELETE", pathOf(scope), { query: whose(scope) });

export const exportMemories = async scope =>
	(await send("GET", pathOf(scope, "/export"), { query: { ...whose(scope), include: "superseded" } })).blob();

export const listTraces = (cursor, limit, signal) => ask("GET", "memory/traces", { query: { cursor, limit }, signal });

export const readHistory = signal => ask("GET", "memory/history", { signal });

export const readJournal = signal => ask("GET", "memory/journal", { query: { limit: PAGE }, signal });

export const retryJournal = () => ask("POST", "memory/journal/retry");

export const dropJournal = () => ask("DELETE", "memory/journal");

/** Whether chats get their memory. What says no is an answer, too. */
export const readReadiness = () => ask("GET", "readyz", { also: 503 });

/**
 * Events as they come, each {id, type, data}, after the one that is *lastId*, until the stream ends. EventSource could
 * not send the token. *opened* is called when the server has begun to answer.
 */
export async function* readEvents(path, lastId, signal, opened) {
	const more = { "Last-Event-ID": String(lastId) };
	const response = await send("GET", path, { signal, accept: "text/event-stream", more });
	opened();
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	let kept = "";
	try {
		for (;;) {
			const { value, done } = await reader.read();
			if (done) return;
			const blocks = (kept + value).split(/\r?\n\r?\n/);
			kept = blocks.pop();
			for (const block of blocks) {
				const event = parseEvent(block);
				if (event.data) yield event;
			}
		}
	} finally {
		reader.cancel().catch(() => {});
	}
}

function parseEvent(block) {
	const event = { id: null, type: "message", data: "" };
	const data = [];
	for (const line of block.split(/\r?\n/)) {
		const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
		if (field === "data") data.push(value);
		else if (field === "event") event.type = value;
		else if (field === "id") event.id = value;
	}
	event.data = data.join("\n");
	return event;
}
