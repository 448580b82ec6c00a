/** What is shown of one chat: a few words in a row, and all of it. */

import { access } from "../api.js";
import { linkTo, linkToConversation, when } from "../detail.js";
import { bdi, button, cut, facts, h, replace, shown } from "../dom.js";
import { count, exact, fixed, ms, number, percent } from "../format.js";
import { addressOf } from "../router.js";
import { copy } from "../talk.js";
import { drawBar } from "../why.js";

/** When a chat ended: its number is that in microseconds. */
export const ended = trace => new Date(Math.floor(trace.number / 1000)).toISOString();

export function code(trace) {
	const kind = trace.code.startsWith("2") ? "good" : /^(5|truncated)/.test(trace.code) ? "bad" : "warn";
	const title =
		{ gone: "The client left before the end", truncated: "The upstream died before the end" }[trace.code] ??
		`HTTP ${trace.code}`;
	return h("span.tag.code", { class: kind, title }, trace.code);
}

export const status = trace =>
	trace.memory ? h("span", { class: `tag status-${trace.memory}` }, trace.memory) : h("span.aside", "not asked");

export function usage({ usage: used }) {
	if (!used) return h("span.aside", "–");
	const share = used.cached && used.prompt ? h("span.aside", ` · ${percent(used.cached / used.prompt)} cached`) : null;
	return [number(used.prompt), share];
}

function usageInWords({ prompt, completion, cached }) {
	const share =
		cached !== null && cached !== undefined && prompt
			? ` (${number(cached)} of them, ${percent(cached / prompt)}, from the provider's cache)`
			: "";
	return `${number(prompt)} tokens of prompt${share}, ${number(completion)} of answer`;
}

/** [name, milliseconds, what it is] of a chat's time. */
function timesOf(trace) {
	const { recall_ms: recall, first_token_ms: first, total_ms: total } = trace;
	if (first === null)
		return [
			["recall", recall, "Recall"],
			["wait", Math.max(0, total - recall), "Everything else"],
		];
	return [
		["recall", recall, "Recall"],
		["wait", Math.max(0, first - recall), "Until the first token"],
		["rest", Math.max(0, total - first), "The rest of the answer"],
	];
}

export function drawTimes(trace, whole) {
	return drawBar(
		timesOf(trace).map(([name, value]) => [`time-${name}`, value]),
		whole,
	);
}

function timeTable(trace) {
	return [
		drawTimes(trace, trace.total_ms),
		h(
			"ul.legend",
			timesOf(trace).map(([name, value, text]) =>
				h("li", h(`span.key.time-${name}`), text, " ", h("b.number", ms(value))),
			),
		),
	];
}

/** Everything about a chat; *recalled* is where its memories are listed. */
export function describe(trace, recalled) {
	const scope = { user: trace.user_id, tenant: trace.tenant };
	const rows = [
		["User", trace.user_id === null ? "nobody" : h("a", { href: addressOf(scope) }, bdi(trace.user_id))],
		trace.tenant && ["Tenant", bdi(trace.tenant)],
		trace.client && ["Client", bdi(trace.client)],
		["Began", when(trace.at, exact(trace.at).split("\n")[0])],
		trace.model && ["Model", [bdi(trace.model), h("span.aside", trace.stream ? "streamed" : "not streamed")]],
		trace.conversation_id && [
			"Conversation",
			trace.user_id === null ? bdi(trace.conversation_id) : linkToConversation(scope, trace.conversation_id),
		],
		trace.usage && ["Usage", usageInWords(trace.usage)],
		[
			"Request",
			[
				h("code", bdi(trace.id)),
				button("Copy the request id", () => copy(trace.id, "Request id"), { name: "copy", only: true, kind: "quiet" }),
			],
		],
	];
	const words = (title, text) =>
		text !== undefined && h("section", h("h3", title), h("div.said", { dir: "auto" }, shown(text)));
	return h(
		"article.trace",
		h("header.memory-head", code(trace), status(trace), trace.error && h("span.tag.bad", bdi(trace.error))),
		h("section", h("h3", `Time: ${ms(trace.total_ms)}`), timeTable(trace)),
		words("Question", trace.question),
		trace.memories.length > 0 &&
			h(
				"section",
				h("h3", `Recalled: ${count(trace.count, "memory", "memories")}, ${number(trace.tokens)} tokens`),
				recalled,
			),
		describeBlock(trace),
		words("Answer", trace.answer),
		facts(...rows),
	);
}

function describeBlock(trace) {
	if (trace.block !== undefined) {
		return h(
			"section",
			h(
				"header.section-head",
				h("h3", "Block, as the upstream saw it"),
				button("Copy", () => copy(trace.block, "Block"), { name: "copy", kind: "quiet small" }),
			),
			h("pre.block", { tabindex: "0", "aria-label": "The block", dir: "auto" }, shown(trace.block)),
		);
	}
	if (!trace.count) return null;
	return h(
		"p.aside",
		access.content
			? "The block of this chat is not kept."
			: ["Blocks and messages are kept only with ", h("code", "traces.content: true"), "."],
	);
}

/** Lists what a chat was given, the best first, with the texts of *memories* as far as these are loaded. */
export function listRecalled(list, trace, memories) {
	const missing = memories.complete
		? "Not stored any more"
		: memories.failure
			? "Its text could not be loaded"
			: "Loading its text …";
	replace(
		list,
		[...trace.memories]
			.sort((a, b) => b.score - a.score)
			.map(({ id, score }) => {
				const memory = memories.byId.get(id);
				const text = memory && h("span", { dir: "auto" }, shown(cut(memory.text, 200)));
				return h(
					"li",
					h("span.number", score > 0 ? fixed(score, 2) : "standing"),
					memory ? linkTo(memories.scope, memory, text) : h("span.aside", missing),
				);
			}),
	);
}
