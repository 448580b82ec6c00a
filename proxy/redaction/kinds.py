"""All that can be found, by the names that masks and metrics use."""

from typing import Final

from proxy.redaction.blocks import BLOCKS
from proxy.redaction.nouns import MACHINE_NOUNS, VENDORS
from proxy.redaction.vendors import MARKED, PREFIXED

CUSTOM: Final = "custom"
PERSONAL_KINDS: Final = frozenset({"email", "phone", "iban", "national_id", "ip_address", "street_address"})
SECRET_KINDS: Final = (
    frozenset(rule.kind for rule in (*PREFIXED, *MARKED, *BLOCKS))
    | frozenset(MACHINE_NOUNS.values())
    | VENDORS.keys()
    | {"authorization", "card_number", "password", "seed_phrase"}
)
# A closed set, for the label of a metric.
KINDS: Final = SECRET_KINDS | PERSONAL_KINDS | {CUSTOM}
