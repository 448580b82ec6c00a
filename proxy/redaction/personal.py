"""Personal data, where its form leaves no doubt. Needs the extra ``personal``: phone numbers and check digits of many
countries are kept up by others (``phonenumbers``, ``python-stdnum``), and most deployments do without.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

from proxy.errors import ConfigError
from proxy.redaction import forms
from proxy.redaction.base import Hit, Subject, follow, places


class PersonalFinder:
    """E-mail addresses, phone numbers, IBANs, national ids, public IP addresses, postal addresses.

    Raises:
        ConfigError: the extra is not installed.
    """

    def __init__(self) -> None:
        try:
            self._phones: Any = import_module("phonenumbers")
            self._iban = _import_check("iban")
            self._ids = [
                (re.compile(f"{forms.NOT_BEFORE}(?:{form}){forms.NOT_AFTER}"), _import_check(name), words)
                for name, form, words in forms.IDS
            ]
        except ImportError as exc:
            raise ConfigError(
                "redaction.personal: true: should be false, or install memory-proxy[personal], which it needs"
            ) from exc
        self._streets = [re.compile(forms.NOT_BEFORE + street) for street in forms.STREETS]

    def __call__(self, subject: Subject) -> Iterator[Hit]:
        for found, kind in self._search(subject):
            for begin, end in found:
                yield Hit(begin, end, kind, family="personal")

    def _search(self, subject: Subject) -> Iterator[tuple[Iterable[tuple[int, int]], str]]:
        text = subject.text
        if b"@" in subject.raw:
            yield _find_emails(subject), "email"
        if (digits := subject.digits) >= forms.FEWEST_IN_ADDRESS:
            yield _find_addresses(text), "ip_address"
            yield self._find_streets(text), "street_address"
        if digits >= forms.FEWEST_IN_NUMBER:
            yield self._find_phones(text), "phone"
            yield self._find_ibans(text), "iban"
            yield self._find_ids(text), "national_id"

    def _find_ibans(self, text: str) -> Iterator[tuple[int, int]]:
        for match in forms.IBAN.finditer(text):
            end = match.end()
            # A word in capitals may follow: what fits is the longest part that ends between groups and is valid.
            while end > match.start() and not self._iban(text[match.start() : end]):
                end = max(text.rfind(" ", match.start(), end), text.rfind("-", match.start(), end))
            if end > match.start():
                yield match.start(), end

    def _find_ids(self, text: str) -> Iterator[tuple[int, int]]:
        if forms.ID_LIKE.search(text):
            for pattern, is_valid, words in self._ids:
                for match in pattern.finditer(text):
                    if is_valid(match[0]) and _is_named(text, match.start(), words):
                        yield match.span()

    def _find_phones(self, text: str) -> Iterator[tuple[int, int]]:
        for match in forms.INTERNATIONAL.finditer(text):
            yield from self._read_phone(text, match.start(), (None,))
        for match in forms.AMERICAN.finditer(text):
            yield from self._read_phone(text, match.start(), ("US",))
        for match in forms.CALLED.finditer(text):
            yield from self._read_phone(text, match.end(), forms.REGIONS)

    def _read_phone(self, text: str, begin: int, regions: Iterable[str | None]) -> Iterator[tuple[int, int]]:
        """The valid number that begins at *begin*, if there is one: the first region to know it will do."""
        match = forms.NUMBER.match(text, begin)
        parts = match[0].split(" ") if match else []
        # Another number may follow; it would not be the last three groups.
        for count in range(len(parts), max(0, len(parts) - 3), -1):
            number = " ".join(parts[:count])
            if sum(map(str.isdigit, number)) < forms.FEWEST_IN_PHONE:
                return
            if any(self._is_valid(number, region) for region in regions):
                yield begin, begin + len(number)
                return

    def _is_valid(self, number: str, region: str | None) -> bool:
        try:
            return bool(self._phones.is_valid_number(self._phones.parse(number, region)))
        except self._phones.NumberParseException:
            return False

    def _find_streets(self, text: str) -> Iterator[tuple[int, int]]:
        if not any(word in text for word in forms.ANY_STREET):
            return
        for word in forms.STREET.finditer(text):
            begin = max(0, word.start() - forms.REACH[0])
            for street in self._streets:
                for match in street.finditer(text, begin, word.end() + forms.REACH[1]):
                    if match.start() <= word.start() < match.end():
                        yield match.span()


def _import_check(name: str) -> Callable[[str], bool]:
    check: Callable[[str], bool] = import_module(f"stdnum.{name}").is_valid
    return check


def _is_named(text: str, begin: int, words: str) -> bool:
    return not words or re.search(words, text[max(0, begin - forms.WINDOW) : begin], re.IGNORECASE) is not None


def _find_emails(subject: Subject) -> Iterator[tuple[int, int]]:
    return ((hit.begin, hit.end) for hit in follow(subject, places(subject.raw, b"@"), _read_email))


def _read_email(subject: Subject, place: int) -> Hit | None:
    text = subject.text
    local = forms.LOCAL.search(text, max(0, place - 64), place)
    domain = forms.DOMAIN.match(text, place + 1)
    # In https://ada:password@example.com it is no address that ends there.
    if local is None or domain is None or forms.IN_URL.search(text, max(0, place - 128), place):
        return None
    return Hit(local.start(), domain.end(), "email")


def _find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Public ones only: 127.0.0.1 and 192.168.0.1 are everybody's."""
    for pattern, sign, least in ((forms.IPV4, ".", 3), (forms.IPV6, ":", 2)):
        for match in pattern.finditer(text) if text.count(sign) >= least else ():
            try:
                is_public = ipaddress.ip_address(match[0]).is_global
            except ValueError:
                continue
            if is_public and _is_address(text, match):
                yield match.span()


def _is_address(text: str, match: re.Match[str]) -> bool:
    """Versions and chapters look like addresses, but for large numbers, or a word that says so."""
    if ":" in match[0] or any(int(part) > forms.LARGE for part in match[0].split(".")):
        return True
    return _is_named(text, match.start(), forms.HOST.pattern)
