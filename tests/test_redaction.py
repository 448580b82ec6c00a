"""Secrets are masked, what surrounds them is kept to the letter, and what only looks like one is left alone."""

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Redaction, SecretPattern
from proxy.errors import ConfigError
from proxy.redaction import KINDS, Known, Redacted, Redactor
from proxy.redaction.cards import passes_luhn
from tests.cost import cost
from tests.secrets import Planted, plant_secrets

PLANTED: list[Planted] = list(plant_secrets())
ORDINARY: list[str] = json.loads((Path(__file__).parent / "data" / "ordinary.json").read_text("utf-8"))
REDACTOR = Redactor(Redaction())
PROSE = ("We are two adults and a child, we like quiet places, good food and walking along the river. " * 6)[:500]


def redact(text: str) -> str:
    return REDACTOR.redact(text).text


def fastest(text: str, redactor: Redactor = REDACTOR, rounds: int = 5) -> float:
    """Seconds of CPU that *text* takes at its best."""
    return cost(lambda: redactor.redact(text), rounds)


@pytest.mark.parametrize("kind", sorted({planted.kind for planted in PLANTED}))
def test_every_kind_is_masked(kind: str) -> None:
    """In sentences, code and logs: the secret is gone, the mask tells its kind, and all else is as it was."""
    for planted in PLANTED:
        if planted.kind == kind:
            masked = planted.text.replace(planted.secret, f"[secret: {kind}]")
            assert REDACTOR.redact(planted.text) == Redacted(masked, (kind,))


def test_many_kinds_are_planted() -> None:
    """The list that the others are measured with has not shrunk, and all of it is in the closed set of kinds."""
    kinds = {planted.kind for planted in PLANTED}
    assert len(kinds) >= 90
    assert kinds < KINDS


def test_no_part_of_a_planted_secret_stands_in_the_repository() -> None:
    """The file holds halves only, so that no scanner of leaks takes it for one."""
    stored = (Path(__file__).parent / "data" / "secrets.json").read_text("utf-8")
    assert [planted.kind for planted in PLANTED if planted.secret in stored] == []


def test_ordinary_messages_are_left_alone() -> None:
    """500 of them in many languages, half about passwords, keys and numbers: not one false alarm."""
    assert len(set(ORDINARY)) == 500
    assert [text for text in ORDINARY if REDACTOR.redact(text) != Redacted(text, ())] == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("PASSWORD='Zq9!k' bash", "PASSWORD='[secret: password]' bash"),
        ('pw: "a", password: "two words!"', 'pw: "a", password: "[secret: password]"'),
        ("https://x.org/?password=Zq9!k&user=ada", "https://x.org/?password=[secret: password]&user=ada"),
        ("Server=x;Password=Zq9!k;Port=1", "Server=x;Password=[secret: password];Port=1"),
        ("(my password is Zq9!k)", "(my password is [secret: password])"),
        ("my password is Zq9!k. And my cat?", "my password is [secret: password]. And my cat?"),
        ("my password is swordfish, ok?", "my password is [secret: password], ok?"),
        ("f(password='Zq9!k', user='ada')", "f(password='[secret: password]', user='ada')"),
        ("f(user, password=Zq9k)", "f(user, password=[secret: password])"),
        ("redis://:Zq9@k!@cache:6379", "redis://:[secret: url_password]@cache:6379"),
        ("def f(password: str = 'Zq9!k') -> None:", "def f(password: str = '[secret: password]') -> None:"),
        ("mysql -u root -pZq9!kx shop", "mysql -u root -p[secret: password] shop"),
        ("my password is 123456", "my password is [secret: password]"),
        ("token: 123e4567-e89b-12d3-a456-426614174000;", "token: [secret: access_token];"),
        ("DB_PASSWORD=fish\nUSER=ada", "DB_PASSWORD=[secret: password]\nUSER=ada"),
    ],
)
def test_where_a_value_ends(text: str, masked: str) -> None:
    """At its quote, at the next field, or before the punctuation of the sentence."""
    assert redact(text) == masked


def test_two_secrets_side_by_side() -> None:
    """Each has its own mask, from left to right, even with nothing but a comma between them."""
    tokens = {planted.kind: planted.secret for planted in PLANTED}
    text = f"{tokens['groq_key']},{tokens['npm_token']}"
    assert REDACTOR.redact(text) == Redacted("[secret: groq_key],[secret: npm_token]", ("groq_key", "npm_token"))


def test_what_is_repeated_is_masked_too() -> None:
    """What one message has told to be a secret is one in what follows, where nothing says so. Short ones may be any
    word.
    """
    known: Known = {}
    assert REDACTOR.redact("my password is swordfish, and before: DB_PASSWORD=fish", known).found == ("password",) * 2
    assert REDACTOR.redact("Is it swordfish or Swordfish, swordfish?", known) == Redacted(
        "Is it [secret: password] or Swordfish, [secret: password]?", ("password", "password")
    )
    assert REDACTOR.redact("Is it swordfish?") == Redacted("Is it swordfish?", ())
    assert all(len(secret) >= 6 for secret in known)


def test_what_overlaps_is_masked_once() -> None:
    """A known token behind an assignment is named by its form, with all that the assignment holds."""
    token = next(p.secret for p in PLANTED if p.kind == "github_token")
    assert REDACTOR.redact(f'password = "{token}!more"') == Redacted(
        'password = "[secret: github_token]"', ("github_token",)
    )
    assert redact(f"OPENAI_API_KEY={token}") == "OPENAI_API_KEY=[secret: github_token]"


def test_masked_text_stays_as_it_is() -> None:
    """Also where a mask stands behind the name of a secret, or what stood around one now stands together."""
    for planted in PLANTED:
        masked = redact(planted.text)
        assert REDACTOR.redact(masked) == Redacted(masked, ())
    assert redact("password = [secret: password] and token: [secret: jwt]") == (
        "password = [secret: password] and token: [secret: jwt]"
    )


def test_only_our_own_masks_are_passed_over() -> None:
    """What is written like a mask, with a kind that nothing has, is read like any other text."""
    secret = next(planted.secret for planted in PLANTED if planted.kind == "age_key")
    assert redact(f"[secret: {secret}]") == "[secret: [secret: age_key]]"


def test_secrets_can_be_let_through() -> None:
    """Where the operator turned it off, nothing is looked for but their own patterns."""
    assert Redactor(Redaction(secrets=False)).redact("my password is Zq9!k") == Redacted("my password is Zq9!k", ())


def test_own_patterns() -> None:
    """The group named secret is masked if there is one, else the whole; the metric counts them as one kind."""
    patterns = (
        SecretPattern(name="badge", pattern=r"badge (?P<secret>\d{4})"),
        SecretPattern(name="acme-key", pattern=r"acme_\w+"),
        SecretPattern(name="nothing", pattern=r"\b"),
    )
    redactor = Redactor(Redaction(patterns=patterns))
    assert redactor.redact("badge 1234, acme_x1 and my password is Zq9!k") == Redacted(
        "badge [secret: badge], [secret: acme-key] and my password is [secret: password]",
        ("custom", "custom", "password"),
    )
    assert redactor.redact("badge [secret: badge], [secret: acme-key]").found == ()


def test_an_own_pattern_cannot_eat_masks() -> None:
    """Even one that matches everything leaves a mask as it is, so that redacting ends."""
    redactor = Redactor(Redaction(patterns=(SecretPattern(name="all", pattern=r"\w+"),)))
    assert redactor.redact("one two").text == "[secret: all] [secret: all]"


@pytest.mark.parametrize(
    ("digits", "valid"), [("4242424242424242", True), ("4242424242424241", False), ("79927398713", True)]
)
def test_check_digit_of_cards(digits: str, valid: bool) -> None:
    """As the standard computes it."""
    assert passes_luhn(digits) is valid


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424241",  # the check digit is wrong
        "42424242424242424242",  # too long
        "1242424242424242",  # nobody's prefix
        "x4242424242424242",
        "https://example.com/4242424242424242",
        "0.4242424242424242",
        "4242 4242-4242 4242",
        "36000000000008",  # a length that cards share with much else
    ],
)
def test_numbers_that_are_no_cards(text: str) -> None:
    """A wrong check digit, length, issuer or place is enough."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "api_key=a1a1a1a1a1a1a1a1a1a1",  # hardly any variety
        "api_key=release-2023-05-01-build-17",
        'token=https://example.com/a1b2c3d4e5f6g7h8/x, or "token": "https://a1B2c3D4e5F6g7H8.org"',
        "next_page_token=a8f3b2c9d7e1a4f6b8c0",  # worth nothing to anybody
        "recovery: first rest and then sleep well each day and walk home again",
        "mysql -u root -port 3306",
        "curl -u ada:$PASSWORD https://example.com",
        "Authorization: Basic c29tZXRoaW5n",  # has no password in it
    ],
)
def test_values_that_are_no_secrets(text: str) -> None:
    """Names, versions, addresses, prose and references in places where secrets stand."""
    assert redact(text) == text


# Made to hurt: long runs, openings without an end, anchors without anything behind them.
ADVERSARIAL = {
    "one character": "a",
    "digit": "1",
    "digits apart": "4 ",
    "dash": "-",
    "quote": '"',
    "escape": '\\"',
    "sign": "=",
    "nested quotes": "password=\"'",
    "password": "password",
    "password is": "password is ",
    "passwords assigned": "password=",
    "key": "api_key=",
    "key and value": "token=a1b2c3d4e5f6 ",
    "jwt": "-eyJ",
    "jwt parts": "eyJaaaaaaaa.",
    "token": "-sk-ant-",
    "pem": "-----BEGIN PRIVATE KEY-----\nAAAA",
    "putty": "PuTTY-User-Key-File-2: ",
    "url": "://a:",
    "at": "://a:@",
    "curl": "curl -u a",
    "phrase": "seed phrase: abandon ",
    "header": "authorization: bearer ",
    "russian": "пароль ",
    "mask": "[secret: password]",
    "base64": "Zm9vYmFyL2Jhei9xdXgrMTIzNDU2Nzg5MA/+",
}


@pytest.mark.parametrize("unit", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_no_text_takes_more_than_its_length(unit: str) -> None:
    """Eight times as much of it takes no more than sixteen times as long, and 100 kB a fraction of a second."""
    short, long = ((unit * (size // len(unit) + 1))[:size] for size in (12_500, 100_000))
    assert fastest(long, rounds=3) < max(16 * fastest(short), 0.02)
    assert fastest(long, rounds=3) < 1


def test_an_ordinary_message_costs_next_to_nothing() -> None:
    """A bound with room for a slow machine: a tenth of a millisecond for 500 characters, 20 for 100 kB."""
    assert fastest(PROSE) < 100e-6
    assert fastest(PROSE * 200) < 20e-3


def test_a_megabyte_of_a_picture() -> None:
    """Encoded data is passed over without a hit."""
    picture = "".join(chr(33 + (i * i * 7919) % 90) for i in range(1_000_000))
    encoded = re.sub(r"[^A-Za-z0-9+/]", "A", picture)
    assert REDACTOR.redact(f"data:image/png;base64,{encoded}").found == ()
    assert fastest(encoded, rounds=1) < 2


WORDS = st.sampled_from(
    [
        "password",
        " is ",
        "=",
        ": ",
        '"',
        "'",
        "token",
        "api_key",
        "\n",
        "://",
        "@",
        "-----BEGIN PRIVATE KEY-----",
        "eyJ",
    ]
    + ["4242 4242 4242 4242", "[secret: password]", "[secret: ", "]", "пароль ", "İ", "\ud800", "Zq9!k", "my ", "sk-"]
    + [planted.secret for planted in PLANTED[::40]]
)


@given(st.lists(WORDS | st.text(max_size=12), max_size=24).map("".join))
def test_any_text_can_be_redacted_twice(text: str) -> None:
    """Redacting never raises, the second time changes nothing, and without a hit the text is the same."""
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once.text) == Redacted(once.text, ())
    assert bool(once.found) == (once.text != text)
    assert set(once.found) <= KINDS


@given(st.text())
def test_the_lower_case_of_bytes_keeps_places(text: str) -> None:
    """What is searched has one byte for each character, whatever the script."""
    assert redact(f"{text}\nDB_PASSWORD=Zq9!k8\n").endswith("\nDB_PASSWORD=[secret: password]\n")


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.split(".")[0] in ("phonenumbers", "stdnum"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "phonenumbers", None)


@pytest.mark.usefixtures("without_extra")
def test_personal_data_needs_its_extra() -> None:
    """One line says which key asks for what."""
    with pytest.raises(ConfigError, match=r"^redaction\.personal: true: .*memory-proxy\[personal\]"):
        Redactor(Redaction(personal=True))
