"""Secrets are masked before anything reaches the disk.

What tells a secret is data, from the surest to the least: public formats of tokens (:mod:`~proxy.redaction.vendors`),
marked blocks (:mod:`~proxy.redaction.blocks`), headers and command lines (:mod:`~proxy.redaction.headers`), what is
assigned to a telling name or said of it (:mod:`~proxy.redaction.nouns`), and numbers with a check digit.

Why a table of our own, measured over the tests' 754 plantings of 94 kinds and 500 ordinary messages (half close calls):

=====================================  ========  ============  =============  ========================
detector                               found     false alarms  500 characters  installs
=====================================  ========  ============  =============  ========================
this                                   754       0              13 µs          nothing
detect-secrets 1.5.0, its plugins      166       9             420 µs          requests, pyyaml
detect-secrets 1.5.0, scan_line        620       428          6,700 µs         the same
credsweeper 1.19.5, its filters        495       47            150 µs          50 packages, 420 MB
credsweeper 1.19.5, its model          462       30            160 µs          the same
presidio-analyzer 2.2, its patterns    25        3              22 µs          50 packages, 390 MB
=====================================  ========  ============  =============  ========================

They are made to look through repositories, not chats. Luhn's sum takes 6 µs here and 9 in python-stdnum, so that cards
need no library; for personal data, whose rules differ by country and year, ``phonenumbers`` and ``python-stdnum`` do.
"""

from proxy.redaction.kinds import KINDS
from proxy.redaction.redactor import Known, Redacted, Redactor

__all__ = ["KINDS", "Known", "Redacted", "Redactor"]
