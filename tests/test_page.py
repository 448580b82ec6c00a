"""How the inspector's files are served: by name out of a table, to browsers that have no token yet."""

import gzip
import re
from pathlib import PurePosixPath
from urllib.parse import urljoin

import pytest

from proxy.edge.page import FOLDER, MEDIA
from tests.conftest import Launch
from tests.harness import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_served(proxy: Proxy, name: str) -> None:
    """With its type, and a tag that spares the second transfer."""
    answer = await proxy.request("GET", f"/ui/{name}")
    assert (answer.status, answer.body) == (200, (FOLDER / name).read_bytes())
    assert answer.every("content-type") == [MEDIA[PurePosixPath(name).suffix]]
    (tag,) = answer.every("etag")
    for known in (tag, f"W/{tag}", f'"old", {tag}', "*"):
        again = await proxy.request("GET", f"/ui/{name}", headers={"If-None-Match": known})
        assert (again.status, again.body, again.every("etag")) == (304, b"", [tag])
        assert again.every("cache-control") == ["no-cache"]
    assert (await proxy.request("GET", f"/ui/{name}", headers={"If-None-Match": '"old"'})).status == 200
    head = await proxy.request("HEAD", f"/ui/{name}")
    assert (head.status, head.body, head.every("content-length")) == (200, b"", [str(len(answer.body))])


async def test_who_can_unpack_gets_less(proxy: Proxy) -> None:
    """The same bytes in a third, under a tag of their own; nobody else gets them."""
    for taken in ("gzip", "deflate, gzip;q=1.0, br"):
        answer = await proxy.request("GET", "/ui/style.css", headers={"Accept-Encoding": taken})
        assert answer.every("content-encoding") == ["gzip"]
        assert answer.every("vary") == ["Accept-Encoding"]
        assert gzip.decompress(answer.body) == (FOLDER / "style.css").read_bytes()
        assert len(answer.body) * 3 < (FOLDER / "style.css").stat().st_size
        (tag,) = answer.every("etag")
        known = {"Accept-Encoding": taken, "If-None-Match": tag}
        assert (await proxy.request("GET", "/ui/style.css", headers=known)).status == 304
        assert (await proxy.request("GET", "/ui/style.css", headers={"If-None-Match": tag})).status == 200
    for taken in ("br", "gzip;q=0", "x-gzip", "*"):
        answer = await proxy.request("GET", "/ui/style.css", headers={"Accept-Encoding": taken})
        assert answer.header("content-encoding") is None


@pytest.mark.parametrize("start", ["/ui", "/ui/"])
async def test_links_lead_to_files(proxy: Proxy, start: str) -> None:
    """With and without the slash at the end, and also where the proxy stands under a path of another server."""
    answer = await proxy.request("GET", start)
    assert (answer.status, answer.every("content-type")) == (200, ["text/html; charset=utf-8"])
    links = re.findall(r'(?:href|src)="(\./[^"]+)"', answer.body.decode())
    names = {urljoin(f"/elsewhere{start}", link).removeprefix("/elsewhere/ui/") for link in links}
    assert names == {"style.css", "theme.js", "app.js"}
    assert names < set(FILES)


@pytest.mark.parametrize(
    "target",
    [
        "/ui/nothing",
        "/ui/views",
        "/ui/views/",
        "/ui//app.js",
        "/ui/../app.py",
        "/ui/%2e%2e/app.py",
        "/ui/app%2Ejs",
        "/ui/./app.js",
    ],
)
async def test_nothing_else_is(proxy: Proxy, target: str) -> None:
    """Names are compared as they were sent: no other spelling, no folder, nothing above."""
    answer = await proxy.request("GET", target)
    assert (answer.status, answer.code) == (404, "memory_proxy_not_found")


async def test_nothing_is_sent_there(proxy: Proxy) -> None:
    """The files can be read and nothing else."""
    for method in ("POST", "PUT", "DELETE"):
        assert (await proxy.request(method, "/ui/app.js")).status == 405


async def test_a_token_is_asked_for_by_what_has_data(launch: Launch) -> None:
    """A browser that follows a link sends none, and gets the page; pages of others cannot have its files."""
    proxy = await launch(ready=False, admin={"token": "s3cret"})
    for target in ("/ui", "/ui/app.js"):
        assert (await proxy.request("GET", target)).status == 200
        assert (await proxy.request("GET", target, headers={"X-Forwarded-For": "203.0.113.9"})).status == 200
        for foreign in (
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        ):
            answer = await proxy.request("GET", target, headers=foreign)
            assert (answer.status, answer.code) == (403, "memory_proxy_foreign_origin")
    assert (await proxy.request("GET", "/memory/access")).status == 401


async def test_without_a_token_the_page_is_for_this_machine(proxy: Proxy) -> None:
    """As is all that it could show."""
    for headers in ({"X-Forwarded-For": "203.0.113.9"}, {"Via": "1.1 somewhere"}):
        answer = await proxy.request("GET", "/ui", headers=headers)
        assert (answer.status, answer.code) == (403, "memory_proxy_local_only")
