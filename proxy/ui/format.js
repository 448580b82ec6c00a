/** Numbers, times and counts, as people read them. */

// The page speaks English: dates of another language in the midst of it would read oddly.
const LOCALE = navigator.languages?.find(name => name.startsWith("en")) ?? "en-GB";

const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 3, notation: "compact" });
const share = new Intl.NumberFormat(LOCALE, { style: "percent", maximumFractionDigits: 0 });
const decimals = [0, 1, 2, 3].map(
	digits => new Intl.NumberFormat(LOCALE, { minimumFractionDigits: digits, maximumFractionDigits: digits }),
);
const since = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto", style: "long" });
const dayFormat = new Intl.DateTimeFormat(LOCALE, { weekday: "long", year: "numeric", month: "long", day: "numeric" });
const dateFormat = new Intl.DateTimeFormat(LOCALE, { year: "numeric", month: "short", day: "numeric" });
const clockFormat = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" });
const secondFormat = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const exactFormat = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "long" });
const plurals = new Intl.PluralRules(LOCALE);
const listFormat = new Intl.ListFormat(LOCALE, { type: "conjunction" });

const UNITS = [
	["year", 31_557_600],
	["month", 2_629_800],
	["week", 604_800],
	["day", 86_400],
	["hour", 3_600],
	["minute", 60],
];

export const number = value => whole.format(value);
export const compact = value => short.format(value);
export const percent = value => share.format(value);
export const fixed = (value, digits) => decimals[digits].format(value);
export const list = values => listFormat.format(values);

/** "1 memory", "2,000 memories". */
export function count(value, one, many = `${one}s`) {
	return `${number(value)} ${plurals.select(value) === "one" ? one : many}`;
}

/** Milliseconds in the unit that is easiest to read. */
export function ms(value) {
	if (value === null || value === undefined) return "–";
	if (value >= 10_000) return `${fixed(value / 1000, 1)} s`;
	if (value >= 1_000) return `${fixed(value / 1000, 2)} s`;
	return `${fixed(value, value >= 100 ? 0 : value >= 10 ? 1 : 2)} ms`;
}

/** The same at an axis, where steps are round. */
export const axisMs = value =>
	value >= 1000 ? `${+(value / 1000).toFixed(2)} s` : value ? `${+value.toFixed(2)} ms` : "0";

export function bytes(value) {
	return value >= 1_000_000 ? `${fixed(value / 1_000_000, 1)} MB` : `${fixed(value / 1_000, 1)} kB`;
}

/** "3 hours ago". */
export function relative(iso, now = Date.now()) {
	const seconds = (Date.parse(iso) - now) / 1000;
	const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
	if (unit === "second" && Math.abs(seconds) < 45) return seconds > 10 ? "in a moment" : "just now";
	return since.format(Math.trunc(seconds / size), unit);
}

export const day = iso => dayFormat.format(new Date(iso));
export const date = iso => dateFormat.format(new Date(iso));
export const clock = iso => clockFormat.format(new Date(iso));
export const seconds = iso => secondFormat.format(new Date(iso));
export const dateTime = iso => `${date(iso)}, ${clock(iso)}`;

/** In words and to the letter, for who points at it. */
export const exact = iso => `${exactFormat.format(new Date(iso))}\n${iso}`;

/** The day of a date here, as "2025-06-03", which sorts. */
export function dayKey(iso) {
	const when = new Date(iso);
	return `${when.getFullYear()}-${String(when.getMonth() + 1).padStart(2, "0")}-${String(when.getDate()).padStart(2, "0")}`;
}
