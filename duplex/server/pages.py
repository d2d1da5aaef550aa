"""The page that is served at `/`: static files, read once. Sans-IO: requests in, answers out.

Only the files that are listed exist, so a path can lead nowhere else.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib import resources
from importlib.resources.abc import Traversable

from duplex.server.http import Handler, HttpAnswer, HttpRequest, method_not_allowed

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
# Nothing from elsewhere, nothing inline; calls go to the page's own origin.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "manifest-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = (
    ("Access-Control-Allow-Origin", "*"),  # pages elsewhere may be made of these modules
    ("Content-Security-Policy", _POLICY),
    ("Permissions-Policy", "microphone=(self), camera=(), geolocation=()"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    content_type: str
    etag: str


class Pages:
    """Files by path. A browser keeps them and asks each time whether they have changed."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """``files`` are contents by path, such as ``/app/main.js``; ``/index.html`` is also ``/``.

        Raises:
            ValueError: a file of a kind that is not served.
        """
        self._pages: dict[str, _Page] = {}
        for path, body in files.items():
            suffix = path[path.rfind(".") :]
            if suffix not in _TYPES:
                raise ValueError(f"{path} is of no kind that is served: {', '.join(_TYPES)}")
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            self._pages[path] = _Page(body, _TYPES[suffix], etag)
        if "/index.html" in self._pages:
            self._pages["/"] = self._pages["/index.html"]

    @property
    def paths(self) -> frozenset[str]:
        """All that is served."""
        return frozenset(self._pages)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """One for each path."""
        return {path: partial(_serve, page) for path, page in self._pages.items()}

    def answer(self, request: HttpRequest) -> HttpAnswer | None:
        """Return the file, or None if there is none of that path."""
        page = self._pages.get(request.path)
        return None if page is None else _serve(page, request)


def _serve(page: _Page, request: HttpRequest) -> HttpAnswer:
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed("GET, HEAD")
    headers = (*_HEADERS, ("ETag", page.etag))
    if _names(request.headers.get("if-none-match", ""), page.etag):
        unchanged = HTTPStatus.NOT_MODIFIED
        return HttpAnswer(unchanged, b"", page.content_type, headers, "no-cache")
    return HttpAnswer(HTTPStatus.OK, page.body, page.content_type, headers, "no-cache")


def load_pages() -> Pages:
    """The browser client, as it is installed."""
    return Pages(dict(_files(resources.files("client").joinpath("browser"), "")))


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        here = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _files(entry, here)
        elif entry.name[entry.name.rfind(".") :] in _TYPES:
            yield here, entry.read_bytes()


def _names(if_none_match: str, etag: str) -> bool:
    """Whether the header says that the client has the file (RFC 9110, 13.1.2: weakly compared)."""
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in known or known == ["*"]
