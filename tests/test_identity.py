"""Whose request it is: what an id is, and mode ``header``."""

from typing import Any

import pytest

from proxy.config.access import Identity
from proxy.errors import ApiError
from proxy.identity import check_user_id, find_own_headers
from proxy.identity.base import MODES
from proxy.identity.header import HeaderIdentifier
from proxy.models import Scope
from proxy.tasks import Tasks


def identifier(**options: Any) -> HeaderIdentifier:
    return HeaderIdentifier(Identity(**options), Tasks())


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
        ([b" ada\t"], None, "ada"),
        ([b"ada, bob"], None, "ada, bob"),
        (["é".encode()], None, "é"),
    ],
)
async def test_identify(sent: list[bytes], body_user: str | None, found: str | None) -> None:
    """The header goes before the body; neither is nobody."""
    headers = [(b"x-user-id", value) for value in sent]
    scope = await identifier().identify(headers, body_user, "shop")
    assert scope == (Scope(found, "shop") if found else None)


@pytest.mark.parametrize(
    "sent", [[b""], [b"", b""], [b"ada", b"bob"], [b"ada", b"ada"], [b"\xff"], [b"a" * 257], [b"a\x00b"]]
)
async def test_a_bad_header_is_not_made_good_by_the_body(sent: list[bytes]) -> None:
    """A header that is there and no id, or there twice, is an error and not a reason to look elsewhere."""
    with pytest.raises(ApiError) as caught:
        await identifier().identify([(b"x-user-id", value) for value in sent], "bob", "")
    assert (caught.value.status, caught.value.code) == (400, "memory_proxy_bad_user_id")


async def test_the_body_can_be_told_to_name_nobody() -> None:
    """With ``body_fallback: false``."""
    assert await identifier(body_fallback=False).identify([], "bob", "") is None


async def test_another_header() -> None:
    """The configured name counts, in whatever case it was configured."""
    headers = [(b"x-user-id", b"ada"), (b"x-customer", b"bob")]
    assert await identifier(header="X-Customer").identify(headers, None, "") == Scope("bob")


@pytest.mark.parametrize("mode", sorted(MODES))
def test_no_header_of_any_mode_goes_upstream(mode: Any) -> None:
    """Whatever the mode: the id, the signature and the token."""
    settings = Identity.model_construct(mode=mode)
    assert find_own_headers(settings) == {b"x-user-id", b"x-user-signature", b"x-user-token"}


@pytest.mark.parametrize(("mode", "stripped"), [("header", False), ("signed", False), ("jwt", True)])
def test_authorization_is_kept_where_it_has_no_token(mode: str, stripped: bool) -> None:
    """A token in ``Authorization`` takes that header from the upstream in mode jwt only."""
    defaults = Identity()
    settings = defaults.model_copy(
        update={"mode": mode, "jwt": defaults.jwt.model_copy(update={"header": "Authorization"})}
    )
    assert (b"authorization" in find_own_headers(settings)) == stripped


def test_scopes_of_different_tenants_and_users_have_different_keys() -> None:
    """No pair of tenant and user id can be written to mean another one."""
    scopes = [Scope("a"), Scope("a", "t"), Scope("t\x00a"), Scope("A"), Scope("e\u0301"), Scope("\u00e9")]
    assert len({scope.key for scope in scopes}) == len(scopes)
    assert all(len(scope.key) == 32 for scope in scopes)
