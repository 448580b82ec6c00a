"""Numbers of payment cards: an issuer's prefix, the length that goes with it, and the check digit."""

import re
from collections.abc import Iterator
from typing import Final

from proxy.redaction.base import Hit, Subject

# In one, or in the groups that are printed on the card, with the same character between all of them. What may not
# stand before it is looked at second, because the search for a first digit is quick.
_NUMBER: Final = re.compile(
    r"(?P<number>[2-6](?<![\w/+-].)(?<!\d[.,].)\d{3}(?:(?P<gap>[ -])(?:\d{6}(?P=gap)\d{4,5}"
    r"|\d{4}(?P=gap)\d{4}(?P=gap)\d{4}(?:(?P=gap)\d{3})?)|\d{10,15}))(?![\w/]|[.,-]\d)",
    re.ASCII,
)
_PLAIN: Final = 16
# Lengths that card numbers share with too much else are believed when grouped as on a card, or near these words.
_NAMED: Final = re.compile(
    r"card|credit|debit|visa|master|amex|american express|diners|discover|jcb|unionpay|maestro|karte|carte|tarjeta"
    r"|cartão|cartao|carta|карт|kart|カード|卡|카드|بطاقة|कार्ड|\bpan\b",
    re.IGNORECASE,
)
_WINDOW: Final = 48
# First digits from, to (of as many), and the lengths: ISO/IEC 7812 ranges as the schemes publish them.
_ISSUERS: Final[tuple[tuple[int, int, tuple[int, ...]], ...]] = (
    (4, 4, (16, 19)),  # Visa
    (51, 55, (16,)),  # Mastercard
    (2221, 2720, (16,)),  # Mastercard
    (34, 34, (15,)),  # American Express
    (37, 37, (15,)),
    (6011, 6011, (16, 19)),  # Discover
    (644, 659, (16, 19)),
    (3528, 3589, (16,)),  # JCB
    (300, 305, (14, 16)),  # Diners Club
    (36, 36, (14,)),
    (38, 39, (14, 16)),
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (2200, 2204, (16,)),  # Mir
    (5018, 5018, (16,)),  # Maestro
    (5020, 5020, (16,)),
    (5038, 5038, (16,)),
    (6304, 6304, (16,)),
    (6759, 6763, (16,)),
    (60, 60, (16,)),  # RuPay
    (508, 508, (16,)),
)


def find_cards(subject: Subject) -> Iterator[Hit]:
    """Numbers that can only be a card's."""
    if subject.has_number:
        for match in _NUMBER.finditer(subject.text):
            digits = re.sub(r"[ -]", "", match["number"])
            if _has_issuer(digits) and passes_luhn(digits) and _is_meant(subject.text, match, digits):
                yield Hit(*match.span("number"), "card_number")


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _has_issuer(digits: str) -> bool:
    return any(
        low <= int(digits[: len(str(low))]) <= high and len(digits) in lengths for low, high, lengths in _ISSUERS
    )


def _is_meant(text: str, match: re.Match[str], digits: str) -> bool:
    if len(digits) in (_PLAIN, _PLAIN - 1) or match["gap"]:
        return True
    return _NAMED.search(text, max(0, match.start() - _WINDOW), match.start()) is not None
