"""Where the upstream is."""

import pytest

from proxy.address import Address

GOOD = {
    "https://api.openai.com/v1": ("https://api.openai.com/v1", "api.openai.com", ""),
    "https://api.openai.com:443/v1/": ("https://api.openai.com/v1", "api.openai.com", ""),
    "http://127.0.0.1:8000": ("http://127.0.0.1:8000", "127.0.0.1:8000", ""),
    "http://[::1]:80/a/b": ("http://[::1]/a/b", "[::1]", ""),
    "http://me:hush@host:8080/v1": ("http://host:8080/v1", "host:8080", "me:hush"),
    "http://me%40home:a%3Ab@host/v1": ("http://host/v1", "host", "me@home:a:b"),
    "http://host/ü b/%C3%BC~/v1": ("http://host/%C3%BC%20b/%C3%BC~/v1", "host", ""),
    "unix:/run/llm.sock:/a b": ("unix:/run/llm.sock:/a%20b", "localhost", ""),
    "https://münchen.example/v1": ("https://xn--mnchen-3ya.example/v1", "xn--mnchen-3ya.example", ""),
    "unix:/run/llm.sock": ("unix:/run/llm.sock:/v1", "localhost", ""),
    "unix:///run/llm.sock": ("unix:/run/llm.sock:/v1", "localhost", ""),
    "unix:/run/llm.sock:/openai/v2/": ("unix:/run/llm.sock:/openai/v2", "localhost", ""),
    "unix:/run/llm.sock:/": ("unix:/run/llm.sock:", "localhost", ""),
}
BAD = [
    "api.openai.com",
    "ftp://host/v1",
    "http://",
    "http://host:port/v1",
    "http://host/v1?a=b",
    "http://host/v1#a",
    "unix:",
    "unix:llm.sock",
    "unix:/",
    "unix:/run/llm.sock:v1",
    "unix:/run/llm.sock:/v1?a=b",
]


@pytest.mark.parametrize("url", GOOD)
def test_addresses(url: str) -> None:
    """What is shown has no password in it, and means the same; ``Host`` names no port that goes without saying."""
    shown, authority, userinfo = GOOD[url]
    address = Address.parse(url)
    assert (str(address), address.authority, address.userinfo or "") == (shown, authority, userinfo)
    assert "hush" not in repr(address)
    again = Address.parse(str(address))
    assert (again.host, again.port, again.prefix, again.socket_path) == (
        address.host,
        address.port,
        address.prefix,
        address.socket_path,
    )


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_address(url: str) -> None:
    """It is refused in words that say what would be right."""
    with pytest.raises(ValueError, match=r"should|Port"):
        Address.parse(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "own"),
    [
        ("http://127.0.0.1:8787/v1", "127.0.0.1", 8787, True),
        ("http://127.0.0.1:8788/v1", "127.0.0.1", 8787, False),
        ("http://localhost:8787/v1", "127.0.0.1", 8787, True),
        ("http://127.0.0.2:8787/v1", "127.0.0.1", 8787, False),
        ("http://127.0.0.2:8787/v1", "0.0.0.0", 8787, True),
        ("http://0.0.0.0:8787/v1", "127.0.0.1", 8787, True),
        ("http://192.0.2.1:8787/v1", "0.0.0.0", 8787, False),
        ("https://127.0.0.1/v1", "127.0.0.1", 443, True),
        ("http://name.invalid:8787/v1", "127.0.0.1", 8787, False),
        ("unix:/run/llm.sock", "127.0.0.1", 80, False),
    ],
)
def test_its_own_address(url: str, host: str, port: int, *, own: bool) -> None:
    """However it is written, a server that listens there would be its own upstream."""
    assert Address.parse(url).is_own(host, port) is own
