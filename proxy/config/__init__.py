"""Settings: one YAML file, the environment over it, flags over both; parsed once, frozen, no secret ever printed."""

from proxy.config.fields import DEFAULT_TEMPLATE, MEMORIES, Url
from proxy.config.reading import load
from proxy.config.sections import Classification, Redaction, Retention, SecretPattern, SkipRule, Upstream
from proxy.config.settings import ENV_PREFIX, POINTS_AT_ITSELF, Settings

__all__ = [
    "DEFAULT_TEMPLATE",
    "ENV_PREFIX",
    "MEMORIES",
    "POINTS_AT_ITSELF",
    "Classification",
    "Redaction",
    "Retention",
    "SecretPattern",
    "Settings",
    "SkipRule",
    "Upstream",
    "Url",
    "load",
]
