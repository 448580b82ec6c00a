/** Where somebody is, in the part of the address behind the "#": it can be kept, sent, and gone back to. */

const TABS = ["memories", "search", "injection", "time"];
const VIEWS = ["users", "live", "charts", "journal"];

/**
 * {view, scope, tab, params} of an address; null for one that leads nowhere.
 * "#/user/ada%20l/search?q=dog&tenant=shop" is a view "user" with the tab "search".
 */
export function parse(hash) {
	const [path, query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
	const params = new URLSearchParams(query);
	const parts = path.split("/").slice(1);
	if (path === "" || path === "/") return { view: "users", params };
	if (VIEWS.includes(parts[0]) && parts.length === 1) return { view: parts[0], params };
	if (parts[0] !== "user" || !parts[1] || parts.length > 3) return null;
	const tab = parts[2] ?? "memories";
	if (!TABS.includes(tab)) return null;
	try {
		return {
			view: "user",
			scope: { user: decodeURIComponent(parts[1]), tenant: params.get("tenant") ?? "" },
			tab,
			params,
		};
	} catch {
		return null; // a percent sign with nothing that makes sense behind it
	}
}

/** The address of a view, or of a user's tab. Parameters that are empty are left out. */
export function address(view, params = {}) {
	return `#/${view}${write(params)}`;
}

export function addressOf({ user, tenant }, tab = "memories", params = {}) {
	const path = tab === "memories" ? "" : `/${tab}`;
	return `#/user/${encodeURIComponent(user)}${path}${write({ tenant, ...params })}`;
}

function write(params) {
	const query = new URLSearchParams();
	for (const [key, value] of Object.entries(params)) {
		if (value !== null && value !== undefined && value !== "") query.set(key, value);
	}
	const text = query.toString();
	return text && `?${text}`;
}

const SETTLE_MS = 250;
let timer = null;
let written = -SETTLE_MS;

/**
 * Changes the address without leaving the view and without a step to go back to. Of many changes at once only the
 * first and the last are made: browsers complain of more than twenty a second.
 */
export function rewrite(hash, { now = false } = {}) {
	clearTimeout(timer);
	const write = () => {
		written = performance.now();
		if (hash !== location.hash) history.replaceState(history.state, "", hash);
	};
	if (now || performance.now() - written > SETTLE_MS) write();
	else timer = setTimeout(write, SETTLE_MS);
}

// Elsewhere, what was to be written of where one was would be wrong.
addEventListener("hashchange", () => clearTimeout(timer));
