"""Dates that a fact names, and whether what was said allows them."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cache
from typing import Final, NamedTuple

from proxy.text.folding import fold_like

# Months by how their names begin, without accents; several languages a line.
_MONTHS: Final = (
    "jan(?:uary|uar|vier|uari|eiro|\\.)?|enero|gennaio|sty(?:czen|cznia)|январ\\w*|січ\\w*|ocak|يناير|जनवरी|led(?:en|na)",
    "feb(?:ruary|ruar|rero|braio|ruari|\\.)?|fev(?:rier|ereiro|\\.)?|lut(?:y|ego)|феврал\\w*|subat|فبراير|फरवरी|unora?",
    "mar(?:ch|s|zo|co|t|\\.)?|marz|maart|marzec|marca|март\\w*|березн\\w*|مارس|मार्च|brezn[au]",
    "apr(?:il|ile|\\.)?|avril|abril|kwie(?:cien|tnia)|апрел\\w*|nisan|ابريل|अप्रैल|dub(?:en|na)",
    "may|mai|mayo|maggio|maio|mei|maj|maja|ма[йяе]|травн\\w*|mayis|مايو|मई|kvet(?:en|na)",
    "june?|juni|juin|junio|giugno|junho|czerw(?:iec|ca)|июн\\w*|haziran|يونيو|जून|cerv(?:en|na)",
    "july?|juli|juillet|julio|luglio|julho|lip(?:iec|ca)|июл\\w*|temmuz|يوليو|जुलाई|cerven(?:ec|ce)",
    "aug(?:ust|usti|ustus|\\.)?|aout|agosto|sierpien|sierpnia|август\\w*|серпн\\w*|agustos|اغسطس|अगस्त|srp(?:en|na)",
    "sept?(?:ember|embre|iembre|\\.)?|settembre|setembro|wrze(?:sien|snia)|сентябр\\w*|eylul|سبتمبر|सितंबर|zari",
    "oct(?:ober|obre|ubre|\\.)?|okt(?:ober|\\.)?|ottobre|outubro|pazdziernika?|октябр\\w*|ekim|اكتوبر|अक्टूबर|rij(?:en|na)",
    "nov(?:ember|embre|iembre|embro|\\.)?|listopada?|ноябр\\w*|kasim|نوفمبر|नवंबर",
    "de[cz](?:ember|embre|embro|iembre|\\.)?|dicembre|diciembre|grud(?:zien|nia)|декабр\\w*|aralik|ديسمبر|दिसंबर|prosin(?:ec|ce)",
)
_WEEKDAYS: Final = (
    r"mondays?|montags?|lundi|lunes|segunda|lunedi|maandag|mandag|poniedzialek|понедельник\w*|pazartesi|星期一|周一|月曜|월요일",
    r"tuesdays?|dienstags?|mardi|martes|terca|martedi|dinsdag|tisdag|tirsdag|wtorek|вторник\w*|sali|星期二|周二|火曜|화요일",
    r"wednesdays?|mittwochs?|mercredi|miercoles|quarta|mercoledi|woensdag|onsdag|sroda|сред[ауы]|carsamba|星期三|周三|水曜"
    r"|수요일",
    r"thursdays?|donnerstags?|jeudi|jueves|quinta|giovedi|donderdag|torsdag|czwartek|четверг\w*|persembe|星期四|周四|木曜"
    r"|목요일",
    r"fridays?|freitags?|vendredi|viernes|sexta|venerdi|vrijdag|fredag|piatek|пятниц\w*|cuma|星期五|周五|金曜|금요일",
    r"saturdays?|samstags?|sonnabends?|samedi|sabado|sabato|zaterdag|lordag|sobota|суббот\w*|cumartesi|星期六|周六|土曜"
    r"|토요일",
    r"sundays?|sonntags?|dimanche|domingo|domenica|zondag|sondag|niedziela|воскресень\w*|pazar|星期[日天]|周[日天]|日曜"
    r"|일요일",
)
# Days from the message's to the first and the last that may be meant; generous, as people are vague.
_RELATIVE: Final[tuple[tuple[str, tuple[int, int]], ...]] = (
    (
        r"yesterday|last night|gestern|hier|ayer|anoche|ontem|ieri|gisteren|igar|wczoraj|вчера|вчора|dun|امس|कल"
        r"|昨天|昨日|어제",
        (-1, -1),
    ),
    (
        r"day before yesterday|vorgestern|avant-hier|anteayer|anteontem|позавчера|前天|一昨日|그제",
        (-2, -2),
    ),
    (
        r"today|tonight|this morning|heute|aujourd.?hui|hoy|hoje|oggi|vandaag|idag|dzis\w*|сегодня|bugun|اليوم|आज"
        r"|今天|今日|오늘",
        (0, 0),
    ),
    (
        r"tomorrow|morgen|demain|manana|amanha|domani|imorgon|jutro|завтра|yarin|غدا|明天|明日|내일",
        (1, 1),
    ),
    (
        r"(?:last|past) week|letzte woche|semaine derniere|semana pasada|semana passada|settimana scorsa"
        r"|vorige week|прошл\w+ недел\w+|上周|上星期|先週|지난주|gecen hafta",
        (-14, 0),
    ),
    (
        r"next week|nachste woche|semaine prochaine|proxima semana|semana que vem|settimana prossima|volgende week"
        r"|следующ\w+ недел\w+|下周|下星期|来週|다음 ?주|gelecek hafta",
        (0, 14),
    ),
    (
        r"(?:last|past) month|letzten monat|mois dernier|mes pasado|mes passado|mese scorso|vorige maand"
        r"|прошл\w+ месяц\w*|上个月|先月|지난달|gecen ay",
        (-62, 0),
    ),
    (
        r"next month|nachsten monat|mois prochain|proximo mes|mes que viene|mes que vem|mese prossimo"
        r"|volgende maand|следующ\w+ месяц\w*|下个月|来月|다음 ?달|gelecek ay",
        (0, 62),
    ),
    (
        r"(?:last|past) (?:year|spring|summer|autumn|fall|winter)|letztes jahr|letzten (?:sommer|winter)"
        r"|l'an dernier|annee derniere|ano pasado|ano passado|anno scorso|vorig jaar|прошл\w+ год\w*|去年|작년"
        r"|gecen (?:yil|sene)",
        (-731, 0),
    ),
    (
        r"next (?:year|spring|summer|autumn|fall|winter)|nachstes jahr|nachsten (?:sommer|winter)|annee prochaine"
        r"|l'an prochain|proximo ano|ano que viene|ano que vem|anno prossimo|volgend jaar|следующ\w+ год\w*|明年"
        r"|来年|내년|gelecek (?:yil|sene)",
        (0, 731),
    ),
    (
        r"this (?:week|weekend)|diese woche|dieses wochenende|cette semaine|ce week-end|esta semana|este fin"
        r"|questa settimana|本周|这周|今週|이번 ?주",
        (-7, 7),
    ),
    (
        r"this month|diesen monat|ce mois|este mes|questo mese|本月|这个月|今月|이번 ?달",
        (-31, 31),
    ),
    (
        r"this (?:year|spring|summer|autumn|fall|winter)|dieses jahr|cette annee|este ano|quest'anno|в этом году"
        r"|今年|올해|bu yil",
        (-366, 366),
    ),
    (
        r"recently|neulich|kurzlich|recemment|hace poco|recentemente|недавно|最近",
        (-120, 0),
    ),
)
# North and south of the equator, and a little longer than in the calendar.
_SEASONS: Final = (
    (
        r"summer|sommer|zomer|l'ete|d'ete|ete dernier|verano|verao|estate|лет(?:о|ом)|夏天|夏|여름",
        frozenset({6, 7, 8, 9, 12, 1, 2, 3}),
    ),
    (r"winter|hiver|invierno|inverno|зим(?:а|ой)|冬天|冬|겨울", frozenset({11, 12, 1, 2, 3, 6, 7, 8, 9})),
    (
        r"spring|fruhling|fruhjahr|printemps|primavera|lente|весн(?:а|ой)|春天|春|봄",
        frozenset({3, 4, 5, 6, 9, 10, 11, 12}),
    ),
    (
        r"autumn|(?:the|this|last|next) fall|herbst|automne|otono|outono|autunno|осень(?:ю)?|秋天|秋|가을",
        frozenset({9, 10, 11, 12, 3, 4, 5, 6}),
    ),
)
_UNITS: Final[Mapping[str, float]] = {
    r"days?|tag(?:en|e)?|jours?|dias?|giorn[oi]|dagen|dag|dni|дн(?:я|ей)|gun|天|日|일": 1,
    r"weeks?|wochen?|semaines?|semanas?|settiman[ae]|weken|veckor|tygodni\w*|недел\w*|hafta|周|星期|週間|주": 7,
    r"months?|monat(?:en|e)?|mois|mes(?:es)?|mes[ei]|maanden|miesi\w+|месяц\w*|ay|个?月|か月|ヶ月|개월|달": 30.4,
    r"years?|jahr(?:en|e)?|ans?|annees?|anos?|ann[oi]|jaar|ar|lat|rok\w*|год\w*|лет|yil|sene|年|년": 365.25,
}
_NUMBER: Final = (
    r"\d{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten|couple of|few|einem?r?|zwei|drei|vier|funf"
    r"|sechs|une?|deux|trois|quatre|cinq|dos|tres|cuatro|cinco|dois|due|tre|quattro|двa|два|две|три|четыре|пять|一"
    r"|两|二|三|四|五"
)
_FEW: Final[Mapping[str, int]] = {
    **dict.fromkeys(("two", "couple of", "zwei", "deux", "dos", "dois", "due", "два", "две", "两", "二"), 2),
    **dict.fromkeys(("three", "few", "drei", "trois", "tres", "tre", "три", "三"), 3),
    **dict.fromkeys(("four", "vier", "quatre", "cuatro", "quattro", "четыре", "四"), 4),
    **dict.fromkeys(("five", "funf", "cinq", "cinco", "пять", "五"), 5),
    "six": 6,
    "sechs": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_YEAR: Final = r"(?:19|20)\d\d"
# Which way from the day of the message.
_PAST: Final = re.compile(
    r"\b(?:ago|since|for|vor|seit|il y a|depuis|hace|desde|fa|ha|geleden|sinds|sedan|siden|temu|od|назад|уже|once"
    r"|beri)\b"
    r"|前|以来|来|了|전|منذ|पहले"
)
_FUTURE: Final = re.compile(r"\b(?:in|dans|en|em|tra|fra|over|om|za|через|sonra)\b|后|後|뒤|후|بعد|बाद")
_LEAP: Final = 366
_LONGEST_DAYS: Final = 36_600
# A day or month without a year is one of the year before or after.
_NEAR_DAYS: Final = 366


# Messages with other dates have none that is worth reckoning from.
_EARLIEST: Final = date(1900, 1, 1)
_LATEST: Final = date(2200, 1, 1)


class Date(NamedTuple):
    """A date, or a month, or a year, at ``text[begin:end]``."""

    begin: int
    end: int
    year: int | None
    month: int | None
    day: int | None


class _Days(NamedTuple):
    first: date
    last: date


def find_dates(text: str) -> list[Date]:
    """The dates that *text* names in numbers or with a month, in order; what only looks like one is left out."""
    folded = fold_like(text)
    found: list[Date] = []
    for pattern in _patterns():
        for match in pattern.finditer(folded):
            if all(match.end() <= other.begin or match.start() >= other.end for other in found):
                found.extend(_read(match))
    return sorted(found)


def _read(match: re.Match[str]) -> Iterator[Date]:
    parts = match.groupdict()
    month = parts.get("month")
    number = None
    if month is not None:
        number = int(month) if month.isdecimal() else _number_month(month)
    year, day = (int(value) if (value := parts.get(name)) else None for name in ("year", "day"))
    if (number is None or 1 <= number <= 12) and (day is None or 1 <= day <= 31):
        yield Date(match.start(), match.end(), year, number, day)


def allows(said: str, named: Date, at: date) -> bool:
    """Whether somebody who *said* so on the day *at* may have meant *named*, in the same words or by reckoning."""
    literal = [*find_dates(said), *_find_months(said)]
    if any(_agrees(named, other, at) for other in literal):
        return True
    span = _span(named)
    if span is None or not _EARLIEST <= at <= _LATEST:
        return False
    return any(_overlap(span, days) and _fits(said, named) for days in _find_relative(said, at))


def _find_months(said: str) -> Iterator[Date]:
    """Months that stand alone: of a year that goes without saying."""
    for match in _lone_month().finditer(fold_like(said)):
        yield Date(match.start(), match.end(), None, _number_month(match["month"]), None)


def _agrees(named: Date, said: Date, at: date) -> bool:
    if named.month is not None and named.month != said.month:
        return False
    if named.day is not None and named.day != said.day:
        return False
    if named.year is None or said.year is not None or not _EARLIEST <= at <= _LATEST:
        return named.year is None or named.year == said.year
    # The year is reckoned: it is near.
    span = _span(named)
    near = timedelta(days=_NEAR_DAYS)
    return span is not None and _overlap(span, _Days(at - near, at + near))


def _span(named: Date) -> _Days | None:
    if named.year is None:
        return None
    try:
        first = date(named.year, named.month or 1, named.day or 1)
        last = first if named.day else date(named.year, named.month or 12, 28) + timedelta(days=3)
    except (ValueError, OverflowError):
        return None
    return _Days(first, last)


def _overlap(one: _Days, other: _Days) -> bool:
    return one.first <= other.last and other.first <= one.last


def _fits(said: str, named: Date) -> bool:
    """Whether a day is one of the weekdays, or a month in one of the seasons, that were said, if any was."""
    seasons = [months for pattern, months in _seasons() if pattern.search(fold_like(said))]
    if named.month is not None and seasons and not any(named.month in months for months in seasons):
        return False
    if named.day is None or named.year is None or named.month is None:
        return True
    days = {number for number, pattern in enumerate(_weekdays()) if pattern.search(fold_like(said))}
    return not days or date(named.year, named.month, named.day).weekday() in days


def _find_relative(said: str, at: date) -> Iterator[_Days]:
    folded = fold_like(said.replace("’", "'"))
    for pattern, (first, last) in _relative():
        if pattern.search(folded):
            yield _Days(at + timedelta(days=first), at + timedelta(days=last))
    if any(pattern.search(folded) for pattern in _weekdays()):
        yield _Days(at - timedelta(days=14), at + timedelta(days=14))
    past = _PAST.search(folded) is not None
    ways = (-1,) if past else (1,) if _FUTURE.search(folded) else (-1, 1)
    for pattern, days in _units():
        for number in pattern.findall(folded):
            yield from _around(_count(number) * days, days, at, ways)


def _around(distance: float, unit: float, at: date, ways: tuple[int, ...]) -> Iterator[_Days]:
    """So long ago, or so far ahead."""
    if distance <= _LONGEST_DAYS:
        slack = timedelta(days=max(1, unit / 2, _LEAP if unit > _LEAP - 1 else distance / 4))
        for way in ways:
            center = at + way * timedelta(days=distance)
            yield _Days(center - slack, center + slack)


def _count(number: str) -> int:
    return int(number) if number.isdecimal() else _FEW.get(number, 1)


def _number_month(name: str) -> int:
    return next(number for number, pattern in enumerate(_MONTHS, 1) if re.fullmatch(pattern, name))


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    month = "|".join(_MONTHS)
    year = rf"(?P<year>{_YEAR})"
    day = r"(?<![\d.:])(?P<day>[0-3]?\d)(?!\d)"
    sources = (
        rf"(?<!\d){year}[-/.](?P<month>[01]?\d)(?:[-/.](?P<day>[0-3]?\d))?(?!\d)",
        rf"(?<!\d){year} ?[年년] ?(?:(?P<month>1?\d) ?[月월] ?(?:(?P<day>[0-3]?\d) ?[日일])?)?",
        r"(?<!\d)(?P<month>1?\d) ?[月월] ?(?P<day>[0-3]?\d) ?[日일]",
        rf"{day}(?:st|nd|rd|th|er|\.|-го)?(?: of| de| d')? ?\b(?P<month>{month})\b\.?"
        rf"(?:,? (?:del? |of )?{year}(?!\d))?",
        rf"\b(?P<month>{month})\b\.? (?P<day>[0-3]?\d)(?:st|nd|rd|th)?\b(?!\d)(?:,? {year}(?!\d))?",
        rf"\b(?P<month>{month})\b\.?,? (?:del? |of )?{year}(?!\d)",
        r"(?<!\d)(?P<day>[0-3]?\d)[./](?P<month>[01]?\d)[./](?P<year>(?:19|20)\d\d)(?!\d)",
        rf"(?<![\d.,]){year}(?!\d|[.,]\d)",
    )
    return tuple(re.compile(source) for source in sources)


@cache
def _lone_month() -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?P<month>{'|'.join(_MONTHS)})(?!\w)")


@cache
def _weekdays() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(_bound(names)) for names in _WEEKDAYS)


@cache
def _seasons() -> tuple[tuple[re.Pattern[str], frozenset[int]], ...]:
    return tuple((re.compile(_bound(words)), months) for words, months in _SEASONS)


@cache
def _relative() -> tuple[tuple[re.Pattern[str], tuple[int, int]], ...]:
    return tuple((re.compile(_bound(words)), days) for words, days in _RELATIVE)


@cache
def _units() -> tuple[tuple[re.Pattern[str], float], ...]:
    return tuple(
        (re.compile(rf"(?<!\w)({_NUMBER})[ -]?(?:个|more )?(?:{names})(?![a-zа-я])"), days)
        for names, days in _UNITS.items()
    )


def _bound(words: str) -> str:
    """Whole words, where they are spaced."""
    return rf"(?<![a-z])(?:{words})(?![a-z])"
