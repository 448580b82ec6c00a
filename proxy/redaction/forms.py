"""Forms of personal data: what e-mail addresses, numbers and postal addresses look like, country by country."""

import re
from typing import Final

# stdnum's module, the form that is shown to it, and the words without which too many other numbers pass.
IDS: Final[tuple[tuple[str, str, str], ...]] = (
    ("us.ssn", r"\d{3}-\d{2}-\d{4}", ""),
    ("es.dni", r"\d{8}-?[A-Z]", ""),
    ("es.nie", r"[XYZ]-?\d{7}-?[A-Z]", ""),
    ("it.codicefiscale", r"[A-Z]{6}\d{2}[A-EHLMPR-T]\d{2}[A-Z]\d{3}[A-Z]", ""),
    ("br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}", ""),
    ("cn.ric", r"\d{17}[\dXx]", ""),
    ("kr.rrn", r"\d{6}-[1-4]\d{6}", ""),
    ("fr.nir", r"[12] ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d", ""),
    ("in_.aadhaar", r"\d{4} ?\d{4} ?\d{4}", r"aadhaa?r|आधार"),
    ("de.idnr", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", r"steuer|tax"),
    ("nl.bsn", r"\d{9}", r"bsn|burgerservice"),
    ("pl.pesel", r"\d{11}", r"pesel"),
    ("tr.tckimlik", r"\d{11}", r"kimlik|t\.?c\.? ?no"),
)
WINDOW: Final = 40
# 1.1.1.1, and the shortest of phone numbers and ids.
FEWEST_IN_ADDRESS: Final = 4
FEWEST_IN_NUMBER: Final = 7
# Shorter ones are extensions, or no phone numbers.
FEWEST_IN_PHONE: Final = 8
NOT_BEFORE: Final = r"(?<![\w.-])"
NOT_AFTER: Final = r"(?![\w-]|\.\d)"
IBAN: Final = re.compile(rf"{NOT_BEFORE}[A-Z]{{2}}\d{{2}}(?:[ -]?[A-Z0-9]{{4}}){{2,7}}(?:[ -]?[A-Z0-9]{{1,3}})?(?!\w)")
LOCAL: Final = re.compile(r"\w[\w.+%'-]{0,63}\Z")
IN_URL: Final = re.compile(r"://[^\s/]*\Z")
DOMAIN: Final = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])(?!:[\w/])")
IPV4: Final = re.compile(r"(?<![\w.-])(?<!ersion )\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
IPV6: Final = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){0,6}(?![\w:])")
LARGE: Final = 31
HOST: Final = re.compile(r"\bip\b|ipv4|address|server|host|dns|\bping\b|proxy|gateway")
# What any of the ids has in it; texts without are shown to none of their forms.
ID_LIKE: Final = re.compile(r"\d[\d .-]{5,}\d|\d{2}[A-Z]\d{2}[A-Z]|\d{7}-?[A-Z]")
# Where a phone number may begin: with a country's code, as written in America, or behind a word for one.
INTERNATIONAL: Final = re.compile(r"\+[ ]?(?=[1-9][\d ()./-]{6})")
AMERICAN: Final = re.compile(r"(?:(?<![\w.-])\(\d{3}\) ?|(?<![\w.(-])\d{3}[.-])\d{3}[.-]\d{4}(?![\w-])", re.ASCII)
CALLED: Final = re.compile(
    r"(?:phone|\bcall|\btel\b|mobile|\bcell|whatsapp|\bsms\b|\bhandy|telefon|rufnummer|\b(?:my|his|her|our) number"
    r"|portable|teléfono|móvil|celular|cellulare|телефон|мой номер|電話|电话|手机|전화|هاتف|फ़ोन|फोन)"
    r"[^\n\d(]{0,32}(?=[\d(]\d[\d ()./-]{5})",
    re.IGNORECASE,
)
NUMBER: Final = re.compile(r"[+(]{0,2} ?\d[\d()./-]+(?: [\d()./-]{2,}){0,6}(?<=\d)")
# A number without a country's code is believed if one of these gives it out.
REGIONS: Final = ("US", "GB", "DE", "FR", "ES", "PT", "BR", "IT", "RU", "TR", "JP", "CN", "KR", "IN", "EG")
# With the number, the kind of street and a postal code, or not at all; looked for around the kind of street.
_STREET_WORDS: Final = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Way|Terrace|Square|rue|avenue"
    "|boulevard|place|chemin|allée|impasse|quai|Calle|Avenida|Plaza|Paseo|Rua|Praça|Via|Viale|Piazza|Corso"
)
_STREET_ENDS: Final = "straße|strasse|str.|weg|platz|allee|gasse|damm|ring|ufer"
STREET: Final = re.compile(rf"\b(?:{_STREET_WORDS})\b|(?:{_STREET_ENDS}) \d")
ANY_STREET: Final = tuple(f"{_STREET_WORDS}|{_STREET_ENDS}".split("|"))
REACH: Final = (64, 120)
_NAME: Final = r"[A-ZÀ-ÝÄÖÜ][\w'’.-]{1,30}"
STREETS: Final = (
    rf"\d{{1,5}} (?:[NSEW]\.? )?{_NAME}(?: {_NAME}){{0,3}} (?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive"
    rf"|Dr|Court|Ct|Place|Pl|Way|Terrace|Square)\b\.?(?:,? (?:Apt|Suite|Unit|Flat|#)\.? ?\w{{1,6}})?"
    rf",? {_NAME}(?: {_NAME}){{0,2}},? (?:[A-Z]{{2}},? \d{{5}}(?:-\d{{4}})?|[A-Z]{{1,2}}\d[A-Z\d]? \d[A-Z]{{2}})\b",
    rf"{_NAME}(?:straße|strasse|str\.|weg|platz|allee|gasse|damm|ring|ufer) \d{{1,4}}[a-z]?,? \d{{4,5}} {_NAME}",
    rf"\d{{1,4}}(?: bis)?,? (?:rue|avenue|boulevard|place|chemin|allée|impasse|quai) [\w'’ -]{{2,40}},? \d{{5}}"
    rf" {_NAME}",
    rf"(?:Calle|Avenida|Plaza|Paseo|Rua|Praça|Via|Viale|Piazza|Corso) [\w'’. -]{{2,40}},? (?:n\.?º? ?)?\d{{1,4}},?"
    rf" (?:\d{{4,5}}(?:-\d{{3}})?) {_NAME}",
)
