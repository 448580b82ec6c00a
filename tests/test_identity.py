"""Whose request it is."""

import pytest

from proxy.errors import ApiError
from proxy.identity import check_user_id, identify
from proxy.models import Scope


@pytest.mark.parametrize("user_id", ["a", "x" * 256, "🐝" * 256, " ", "a b", "é", "\u200b", "\ufffe", "\U0010ffff"])
def test_ids(user_id: str) -> None:
    """Anything of 1 to 256 characters without control characters, unchanged."""
    assert check_user_id(user_id) == user_id


@pytest.mark.parametrize("user_id", ["", "x" * 257, "\x00", "a\nb", "a\x7f", "a\x85", "\ud800", "a\tb"])
def test_what_is_no_id(user_id: str) -> None:
    """400, and the message does not repeat it."""
    with pytest.raises(ApiError) as caught:
        check_user_id(user_id)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "memory_proxy_bad_user_id", "user")
    assert not user_id or user_id not in caught.value.message


@pytest.mark.parametrize(
    ("sent", "body_user", "found"),
    [
        ([], None, None),
        ([], "", None),
        ([], "bob", "bob"),
        ([b"ada"], None, "ada"),
        ([b"ada"], "bob", "ada"),
        ([b"ada", b"ada"], None, "ada"),
        (["é".encode()], None, "é"),
    ],
)
def test_identify(sent: list[bytes], body_user: str | None, found: str | None) -> None:
    """The header goes before the body; neither is nobody."""
    assert identify(sent, body_user) == (Scope(found) if found else None)


@pytest.mark.parametrize("sent", [[b""], [b"", b""], [b"ada", b"bob"], [b"\xff"], [b"a" * 257]])
def test_a_bad_header_is_not_made_good_by_the_body(sent: list[bytes]) -> None:
    """A header that is there and no id is an error, not a reason to look elsewhere."""
    with pytest.raises(ApiError):
        identify(sent, "bob")


def test_scopes_of_different_tenants_and_users_have_different_keys() -> None:
    """No pair of tenant and user id can be written to mean another one."""
    scopes = [Scope("a"), Scope("a", "t"), Scope("t\x00a"), Scope("A"), Scope("e\u0301"), Scope("\u00e9")]
    assert len({scope.key for scope in scopes}) == len(scopes)
    assert all(len(scope.key) == 32 for scope in scopes)
