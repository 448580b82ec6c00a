/** Why a memory was found: what of its score is from where, drawn and in words. */

import { h, svg } from "./dom.js";
import { count, fixed, list } from "./format.js";

/** The parts of a score, in the order in which they are drawn. */
export const PARTS = [
	["words", "Words in it"],
	["around", "Words next to it"],
	["conversation", "Words in its conversation"],
	["vector", "Meaning (vectors)"],
	["boost", "Raised for time or phrase"],
];

const sum = pairs => pairs.reduce((total, [, weight]) => total + weight, 0);

/** [name, share of the score] of each part that there is. */
export function partsOf(score, why = {}) {
	const words = sum(why.words ?? []);
	const around = why.around ?? 0;
	const conversation = why.conversation ?? 0;
	const raw = words + around + conversation;
	const lexical = why.lexical ?? 0;
	const vector = why.vector ?? 0;
	const of = value => (raw > 0 ? (lexical * value) / raw : 0);
	const values = [of(words), of(around), of(conversation), vector, score - lexical - vector];
	return PARTS.map(([name], index) => [name, values[index]]).filter(([, value]) => value > 0.004);
}

/** A bar of *pieces*, each [class, length], of which *whole* fits in. It is beside numbers, and says nothing more. */
export function drawBar(pieces, whole) {
	let at = 0;
	const drawn = pieces.map(([name, length]) => {
		const width = (100 * length) / Math.max(whole, 1e-9);
		at += width;
		return svg("rect", { class: name, x: at - width, width: Math.max(0, width - 0.6), height: 6 });
	});
	return svg(
		"svg.score",
		{ viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
		svg("rect.track", { width: 100, height: 6 }),
		drawn,
	);
}

export function drawScore(score, why, best) {
	return drawBar(
		partsOf(score, why).map(([name, value]) => [`part-${name}`, value]),
		Math.max(best, score),
	);
}

/** What the colours mean. */
export function legend() {
	return h(
		"ul.legend",
		{ "aria-label": "Parts of a score" },
		PARTS.map(([name, text]) => h("li", h(`span.key.part-${name}`), text)),
	);
}

const FACTORS = {
	assistant: "said by the assistant, which tells less about the user",
	time: "it is of the time that is asked about",
	phrase: "it has the quoted phrase, word for word",
	speaker: "said by the person whom the question names",
};

const factor = value => `× ${fixed(value, 2)}`;

/** The numbers, each with what it means. */
export function explain(score, why = {}) {
	const own = why.words ?? [];
	const parts = new Map(partsOf(score, why));
	const value = name => fixed(parts.get(name) ?? 0, 2);
	const row = (name, title, number, text) =>
		h("tr", h("th", { scope: "row" }, h(`span.key.part-${name}`), title), h("td.number", number), h("td", text));
	const rows = [
		row("words", "Words in it", value("words"), own.length ? wordTable(own) : "None of the words that were asked for."),
		why.around > 0 && row("around", "Next to it", value("around"), "Words of the question in the messages around it."),
		why.conversation > 0 &&
			row("conversation", "Conversation", value("conversation"), "Words of the question anywhere in its conversation."),
		row(
			"vector",
			"Meaning",
			value("vector"),
			why.cosine > 0
				? `Cosine of its vector and the question's: ${fixed(why.cosine, 2)}.`
				: "No vector, or none that is close.",
		),
		parts.has("boost") && row("boost", "Raised", value("boost"), "By the factors below."),
	];
	const factors = Object.entries(why.factors ?? {}).filter(([, number]) => number !== 1);
	return h(
		"div.why",
		drawScore(score, why, score),
		h(
			"table",
			h("caption.unheard", "Where the score is from"),
			h("tbody", rows.filter(Boolean)),
			h("tfoot", h("tr", h("th", { scope: "row" }, "Score"), h("td.number", fixed(score, 2)), h("td"))),
		),
		factors.length > 0 &&
			h(
				"dl.factors",
				factors.map(([name, number]) => [h("dt.number", factor(number)), h("dd", FACTORS[name] ?? name)]),
			),
	);
}

function wordTable(words) {
	const sorted = [...words].sort((a, b) => b[1] - a[1]);
	return h(
		"ul.words",
		h("li", "BM25 of each:"),
		sorted.map(([word, weight]) => h("li", h("bdi", word), " ", h("span.number", fixed(weight, 2)))),
	);
}

/** In one line, for the list: "chicken, allerg; 2 more by meaning". */
export function summarise(why = {}) {
	const words = [...(why.words ?? [])].sort((a, b) => b[1] - a[1]).map(([word]) => word);
	const said = [];
	if (words.length)
		said.push(
			`has ${list(words.slice(0, 4))}${words.length > 4 ? ` and ${count(words.length - 4, "more word")}` : ""}`,
		);
	if (why.cosine > 0) said.push(`cosine ${fixed(why.cosine, 2)}`);
	if (!words.length && why.around > 0) said.push("words next to it");
	for (const [name, number] of Object.entries(why.factors ?? {}))
		if (number !== 1) said.push(`${factor(number)} ${name}`);
	return said.join(" · ");
}

const WORD = /[\p{L}\p{N}][\p{L}\p{N}\p{M}'’]*/gu;
const SPACELESS =
	/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Hangul}\p{Script=Arabic}\p{Script=Hebrew}]|[^\p{L}\p{N}\p{M}'’]/u;
// Endings that stemming has cut off or changed: "allerg" is of "allergies", "happi" of "happy".
const LONGEST_ENDING = 5;

const fold = text => text.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "");

/** Where *stems* are in *text*: [start, end] in order, without overlap. The page has no stemmer and goes by beginnings. */
export function findWords(text, stems) {
	const plain = stems.filter(stem => !SPACELESS.test(stem)).map(fold);
	const whole = stems.filter(stem => SPACELESS.test(stem)).map(stem => stem.toLowerCase());
	const ranges = [];
	if (plain.length) {
		for (const found of text.matchAll(WORD)) {
			const word = fold(found[0]);
			if (plain.some(stem => isOf(word, stem))) ranges.push([found.index, found.index + found[0].length]);
		}
	}
	const lower = text.toLowerCase();
	// Lower case of some letters is longer, and would shift what follows.
	for (const stem of lower.length === text.length ? whole : []) {
		for (let at = lower.indexOf(stem); at >= 0; at = lower.indexOf(stem, at + stem.length))
			ranges.push([at, at + stem.length]);
	}
	return join(ranges);
}

/** Where *words* are in *text* to the letter, but for their case. */
export function findExact(text, words) {
	const lower = text.toLowerCase();
	const ranges = [];
	for (const word of lower.length === text.length ? words : []) {
		for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + word.length))
			ranges.push([at, at + word.length]);
	}
	return join(ranges);
}

function isOf(word, stem) {
	if (word.startsWith(stem)) return word.length - stem.length <= LONGEST_ENDING;
	const last = stem.at(-1);
	return (
		stem.length > 3 && "iey".includes(last) && word.startsWith(stem.slice(0, -1)) && word.length - stem.length <= 2
	);
}

function join(ranges) {
	const joined = [];
	for (const [start, end] of ranges.sort((a, b) => a[0] - b[0])) {
		const last = joined.at(-1);
		if (last && start <= last[1]) last[1] = Math.max(last[1], end);
		else joined.push([start, end]);
	}
	return joined;
}
