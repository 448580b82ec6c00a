"""Personal data is masked where the operator asks for it, and only where its form leaves no doubt."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Redaction
from proxy.redaction import KINDS, Redacted, Redactor
from tests.cost import cost

ORDINARY: list[str] = json.loads((Path(__file__).parent / "data" / "ordinary.json").read_text("utf-8"))
REDACTOR = Redactor(Redaction(personal=True))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("email", "write to {}, please", "ada.lovelace+notes@mail.example.co.uk"),
        ("email", "name: 'x', email: '{}'", "ada@example.com"),
        ("email", "我的邮箱是 {}。", "ada@example.com"),
        ("phone", "I am at {} until six", "+49 30 901820"),
        ("phone", "{} is my desk", "(212) 736-5000"),
        ("phone", "fax {}.", "415-555-2671"),
        ("phone", "Telefon: {}", "0171 2345678"),
        ("phone", "call me at {} 2 times", "020 7946 0018"),
        ("phone", "電話番号は{}です", "03-3411-7777"),
        ("iban", "IBAN {} BIC COBADEFF", "DE89 3704 0044 0532 0130 00"),
        ("iban", "account {}.", "GB82WEST12345698765432"),
        ("national_id", "SSN {}", "536-90-4399"),
        ("national_id", "mi DNI es {}", "12345678Z"),
        ("national_id", "o CPF dele: {}", "529.982.247-25"),
        ("national_id", "codice fiscale {}", "RSSMRA85T10A562S"),
        ("national_id", "PESEL {}", "44051401359"),
        ("ip_address", "logins from {} only", "93.184.216.34"),
        ("ip_address", "the dns server is {}", "8.8.8.8"),
        ("ip_address", "and {} for IPv6", "2606:4700:4700::1111"),
        ("street_address", "I live at {}.", "1600 Pennsylvania Avenue, Washington, DC 20500"),
        ("street_address", "Schick es an {}, danke", "Hauptstraße 12, 10115 Berlin"),
        ("street_address", "mon adresse : {}", "12 rue de la Paix, 75002 Paris"),
        ("street_address", "vivo en {}", "Calle Mayor 12, 28013 Madrid"),
    ],
)
def test_every_kind_is_masked(kind: str, text: str, value: str) -> None:
    """The mask tells the kind, and all else is as it was."""
    assert REDACTOR.redact(text.format(value)) == Redacted(text.format(f"[personal: {kind}]"), (kind,))
    assert kind in KINDS


@pytest.mark.parametrize(
    "text",
    [
        "git clone git@github.com:ada/repo.git",
        "@ada said hi, @bob did not",
        "@app.route('/')\n@app.errorhandler",
        "order 123456789 of 2019-2020",
        "DE89 3704 0044 0532 0130 01",
        "12345678A is no DNI",
        "44051401359 pieces",
        "version 1.2.3.4 and chapter 2.3.3.1",
        "127.0.0.1, 192.168.0.1 and 999.999.999.999",
        "it was 12:30:45",
        "::1 is this machine",
        "the second street on the left, number 12",
        "my lucky numbers: 4 8 15 16 23 42",
        "call 911",
        "phone 000000000000",
        "+999 123 4567890",
        "phone 1234567",
        "12 Long Street, nowhere near 10115 anything",
    ],
)
def test_what_only_looks_like_it(text: str) -> None:
    """A wrong check digit, a private address or an unfinished one is enough."""
    assert REDACTOR.redact(text) == Redacted(text, ())


def test_ordinary_messages() -> None:
    """Of 500, those few are masked that have an address or a number of somebody in them."""
    found = {text: REDACTOR.redact(text).found for text in ORDINARY}
    assert {text: kinds for text, kinds in found.items() if kinds} == {
        'ssh-keygen -t ed25519 -C "me@example.com"': ("email",),
        "mailto:ada@example.com": ("email",),
        "My number is 0171 2345678": ("phone",),
    }


def test_secrets_are_masked_as_well() -> None:
    """Each under its own name, and what is both is a secret."""
    text = "ada@example.com, my password is Zq9!k, https://ada:Zq9!k@example.com"
    assert REDACTOR.redact(text).text == (
        "[personal: email], my password is [secret: password], https://ada:[secret: url_password]@example.com"
    )


@given(
    st.lists(st.sampled_from(["ada@b.co ", "+49 30 901820", "8.8.8.8", " ", "[personal: email]", "1", "@"])).map(
        "".join
    )
)
def test_any_text_can_be_redacted_twice(text: str) -> None:
    """Redacting never raises, and the second time changes nothing."""
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once.text) == Redacted(once.text, ())


@pytest.mark.parametrize("unit", ["+1 ", "1 ", "@a.", "1:", "1.", "A1", "DE89 3704 ", "12 rue a ", "111-22-3333 "])
def test_no_text_takes_more_than_its_length(unit: str) -> None:
    """50 kB made to hurt take a fraction of a second."""
    assert cost(lambda: REDACTOR.redact((unit * 50_000)[:50_000]), rounds=2) < 1
