"""Whether a value is one: not a placeholder, not code that reads it from elsewhere, and random or chosen enough."""

import math
import re
from collections import Counter
from typing import Final

# In bits a character: 16 random hexadecimal digits have 3.0 on average, random base 62 of that length 3.7.
_ENTROPY: Final = 2.9
_SHORTEST_RANDOM: Final = 16
# From letter to digit, from small to capital and back: 16 random hexadecimal digits have 7 on average.
_FEWEST_TURNS: Final = 4
_SHORTEST_PASSWORD: Final = 4

_HOLLOW: Final = re.compile(
    r"x{4}|[*•●·]{3}|\.{3}|…|_{4}|(?:\b|_)yours?(?:[\W_]|$)|<[^>]*>|\[[^\]]*\]$|^[-*•.x_?#]*$", re.IGNORECASE
)
# Values that stand for one, the words of types and forms, and programs that keep passwords.
_WORDS: Final = """
password passwd passwort pwd pass passphrase secret secrets token key apikey api_key changeme change_me change-me
changeit example placeholder dummy sample none null nil undefined true false yes no str string text bytes int
integer number boolean bool char varchar any object optional required empty blank hidden redacted masked removed
encrypted hashed unknown default disabled enabled off on here value input hash field todo tbd n/a na user username
admin_password mypassword my_password my-password new_password newpassword old_password oldpassword
yourpassword insert_here secretstr credential credentials bearer basic
1password lastpass bitwarden keepass keepassxc dashlane
"""
_STAND_INS: Final = frozenset(_WORDS.split())
# In quotes, too, these stand for a value: "${NAME}", "$NAME", "{{ name }}", "{name}", "%(name)s", "<name>".
_VARIABLE: Final = re.compile(
    r"[$%@&][({]|[$%@][A-Z_][A-Z0-9_]*%?$|[$%@][A-Za-z_]+%?$|\{\{|\{[^}]*\}$|<[^>]*>$|%s$|[, ]"
)
_REFERENCE: Final = re.compile(
    r"f[\"']|(?:os|process|env|import|self|this|config|settings|request|req|props|args|secrets|vars|var|data|params"
    r"|options|opts|event|form|values|kwargs|body|cfg|conf|ctx|context|input|getenv|await|new|lambda|function|async"
    r"|typing|t|z|Yup|models|forms|Column|Field|db)\b[.\[(:!]|!(?:Ref|Sub|GetAtt|vault|env)\b|ENV\["
    r"|(?:file|vault|ssm|arn|env|op|https?)://?|arn:|[./~][\w.~-]*/[\w./-]*$"
)
_CALL: Final = re.compile(r"[A-Za-z_][\w.]{0,64}[(\[{]")
_ARROW: Final = re.compile(r"\(\)|=>|->")
_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*[;,)]*")
_TELLING: Final = re.compile(r"passw|pwd|passphrase|secret|token|_key|hash|prompt|field|input", re.IGNORECASE)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PART: Final = re.compile(r"[A-Za-z0-9]+")
_TURN: Final = re.compile(r"[A-Za-z](?=\d)|\d(?=[A-Za-z])|[a-z](?=[A-Z])|[A-Z](?=[a-z])")
_SYMBOL: Final = re.compile(r"[!@#$%^&*?+=~|\\§€£]")
_MIXED: Final = re.compile(r"[a-z][A-Z]+[a-z]*[A-Z]|[a-z][A-Z]$")
# "12-16", "8+", "2024-01-31", "50%", "3.5", "$156.00"; and with a unit "256-bit", "10x", "8文字", "2nd".
_FIGURE: Final = re.compile(r"\d+[-–+x×%°]+\d*|#?\d{1,3}|[$€£¥]?[\d.,:/–-]*[.,:/–-][\d.,:/–-]*%?|[$€£¥]\d*")
_MEASURE: Final = re.compile(r"\d{1,3}[^\W\d_]{1,10}|\d+[-–+x×%°]\w*|\d+(?:st|nd|rd|th)")
_ALGORITHM: Final = re.compile(
    r"(?:sha|md|bcrypt|argon|base|utf|aes|rsa|hmac|pbkdf|scrypt|ntlm|oauth|ipv|wpa|web|http)-?\d*(?:\W.*)?"
    r"|.*-(?:hashed|bit|character|digit|protected)s?",
    re.IGNORECASE,
)
# Of a long value, its beginning tells what it is.
_SAMPLE: Final = 64
# The next field of a query, a connection string or a call; an escaped line end or quote.
_NEXT: Final = re.compile(r"&(?:amp;)?[\w.-]{1,40}=|;[\w .-]{1,40}=|,(?=[\w.-]{1,40}[=:])|\\[nrt\"']|\)[;,.]")


def is_varied(value: str) -> bool:
    """Whether a token of a known form is more than its form: ``ghp_xxxxxxxx…`` is not."""
    return not re.search(r"[xX]{6}|\*{4}|\.{3}|(?i:your[-_])", value)


def is_hollow(value: str) -> bool:
    """Whether *value* only holds a value's place."""
    return value.lower().strip(".,;:!?'\"") in _STAND_INS or _HOLLOW.search(value) is not None


def is_variable(value: str) -> bool:
    """Whether *value* is filled in later by a shell or a template, or is none but what stands between two quotes."""
    return _VARIABLE.match(value) is not None


def is_reference(value: str) -> bool:
    """Whether *value*, written without quotes, is code that names or makes one."""
    sample = value[:_SAMPLE]
    if is_variable(sample) or _REFERENCE.match(sample) or _CALL.match(sample) or _ARROW.search(sample):
        return True
    if not _NAME.fullmatch(value):
        return False
    return _TELLING.search(sample) is not None or ("." in value and not any(map(str.isdigit, value)))


def is_random(value: str) -> bool:
    """Whether *value* is what a machine made up: a key or a token and no name, version, path or sentence."""
    if _UUID.fullmatch(value):
        return True
    sample = value[:_SAMPLE]
    if len(value) < _SHORTEST_RANDOM or _turns(sample) < _FEWEST_TURNS or _entropy(sample) < _ENTROPY:
        return False
    if "://" in sample or is_hollow(sample):
        return False
    return any(map(_is_dense, _PART.findall(sample))) or len(_SYMBOL.findall(sample)) >= 2


def _is_dense(part: str) -> bool:
    # Names and dates turn from letters to digits once or twice, and to capitals once a word.
    digits = sum(map(str.isdigit, part))
    if len(part) >= 12 and 2 <= digits < len(part):
        return _turns(part) >= _FEWEST_TURNS
    return len(part) >= 16 and _turns(part) >= max(6, len(part) // 3)


def _turns(text: str) -> int:
    return len(_TURN.findall(text))


def _entropy(value: str) -> float:
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())


def is_chosen(value: str, *, plain: bool) -> bool:
    """Whether *value* may be a person's password. *plain*: a bare word will do, as the place allows nothing else."""
    if len(value) < _SHORTEST_PASSWORD or is_hollow(value):
        return False
    if plain:
        return True
    if value.isdigit():
        return True
    if _FIGURE.fullmatch(value) or _ALGORITHM.fullmatch(value):
        return False
    if any(map(str.isdigit, value)) and any(map(str.isalpha, value)):
        return True
    return _SYMBOL.search(value[:-1]) is not None or _MIXED.search(value) is not None


def is_measure(value: str) -> bool:
    """Whether a sentence counts or measures by *value*, as in "the password is 8-16 characters long"."""
    return _MEASURE.fullmatch(value) is not None


def trim(value: str) -> str:
    """*value*, which ended at a space, without what belongs to the sentence, the query or the code around it."""
    value = _NEXT.split(value, maxsplit=1)[0].rstrip(".,;:?。、，．！？؟।…")
    if len(value) > 4 and value.endswith(("**", "__")):
        value = value[:-2]
    for opening, closing in ("()", "[]", "{}"):
        if value.endswith(closing) and opening not in value:
            value = value.rstrip(closing + ",;")
    return value
