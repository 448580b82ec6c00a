"""``/ui``: the inspector's files, as they are in the package. They hold nobody's data; what they show they ask for."""

import gzip
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

import proxy

FOLDER: Final = Path(proxy.__file__).parent / "ui"
PATH: Final = "/ui"
START: Final = "index.html"
MEDIA: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


class File(NamedTuple):
    """What is sent for a name, as it is and packed: a third, for who is on a slow line."""

    body: bytes
    packed: bytes
    media: str
    tag: str


class Page:
    """Answers for the paths ``/ui`` and ``/ui/…`` out of a table that is made once: no request leads to a file."""

    def __init__(self, folder: Path = FOLDER) -> None:
        named = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix in MEDIA}
        start = named[START].read_bytes()
        # Links are relative, for who has the proxy under a path of another server. From "/ui" they begin one level up.
        self._files = {
            PATH: _make_file(start.replace(b'="./', b'="./ui/'), ".html"),
            f"{PATH}/": _make_file(start, ".html"),
            **{f"{PATH}/{name}": _make_file(path.read_bytes(), path.suffix) for name, path in named.items()},
        }

    def answer(self, request: Request) -> Response | None:
        """The file for the path as it was sent; None where there is none."""
        file = self._files.get(request.scope["path"])
        if file is None:
            return None
        packs = _takes_gzip(request.headers.getlist("accept-encoding"))
        etag = f'"{file.tag}-gzip"' if packs else f'"{file.tag}"'
        # Asked for again each time, and sent only if it has changed: after an upgrade no old script meets a new one.
        headers = {"etag": etag, "cache-control": "no-cache", "vary": "Accept-Encoding"}
        if _is_known(request.headers.getlist("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        headers["content-type"] = file.media
        if packs:
            return Response(file.packed, headers={**headers, "content-encoding": "gzip"})
        return Response(file.body, headers=headers)


def _make_file(body: bytes, suffix: str) -> File:
    return File(body, gzip.compress(body, mtime=0), MEDIA[suffix], sha256(body).hexdigest()[:32])


def _takes_gzip(values: list[str]) -> bool:
    """Whether it is asked for by name, and without a weight that may be 0."""
    return any(one.strip() in ("gzip", "gzip;q=1", "gzip;q=1.0") for value in values for one in value.split(","))


def _is_known(values: list[str], etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for value in values for tag in value.split(",")}
    return bool(tags & {etag, "*"})
