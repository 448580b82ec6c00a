"""Clients that nobody here wrote, with the proxy and without it."""

import pytest

pytest.register_assert_rewrite(
    "tests.sdk.comparison", "tests.sdk.room"
)  # so that a difference is shown, not only noticed
