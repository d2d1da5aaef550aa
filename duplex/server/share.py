"""The page's address for another device, and its QR code: ``GET /share`` and ``/share.svg``."""

import io
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from duplex.config import ServerConfig
from duplex.server.http import Handler, HttpAnswer, HttpRequest, read_only
from duplex.server.keys import is_loopback

PATH, PICTURE_PATH = "/share", "/share.svg"
_ELSEWHERE = ("192.0.2.1", 9)  # of documentation: nothing is sent there
_ANY = ("0.0.0.0", "::")  # where a server listens that listens everywhere
_HOST = re.compile(r"[\w.-]+(?::\d+)?|\[[\da-fA-F:.]+\](?::\d+)?")  # RFC 9110, 7.2

Works = Literal["yes", "no_microphone", "this_machine"]


@dataclass(frozen=True, slots=True)
class Shared:
    """An ``address`` of the page, and whether it ``works`` on another device: browsers give no
    microphone to pages that come over http from another machine."""

    address: str
    works: Works


def shared(page: str, server: ServerConfig) -> Shared:
    """What to open elsewhere, given the address by which this machine or a proxy knows the page."""
    parts = urlsplit(page)
    host = parts.hostname or ""
    if is_loopback(host) or host in _ANY:
        if is_loopback(server.host):
            return Shared(page, "this_machine")
        port = f":{parts.port}" if parts.port else ""
        page = f"{parts.scheme}://{own_address()}{port}{parts.path}"
    return Shared(page, "yes" if parts.scheme == "https" else "no_microphone")


def own_address() -> str:
    """This machine's address in its network; the loopback's if it is in none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def in_terminal(address: str) -> str:
    """The QR code of ``address``, in characters."""
    import segno

    drawn = io.StringIO()
    segno.make(address, micro=False).terminal(drawn, compact=True)
    return drawn.getvalue()


class SharePages:
    """Of one server."""

    def __init__(self, server: ServerConfig) -> None:
        self._server = server

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By path. They need no key: they tell who asks no more than the address that was asked
        and this machine's own in its network."""
        return {PATH: read_only(self._told), PICTURE_PATH: read_only(self._drawn)}

    def _of(self, request: HttpRequest) -> Shared:
        server, origin = self._server, request.origin
        is_secure = bool(server.tls_certificate) or bool(origin and origin.is_secure)
        host = (origin.host if origin else None) or request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            host = f"127.0.0.1:{server.port}"
        page = f"{'https' if is_secure else 'http'}://{host}{server.root()}/"
        return shared(page, server)

    def _told(self, request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(HTTPStatus.OK, msgspec.json.encode(self._of(request)))

    def _drawn(self, request: HttpRequest) -> HttpAnswer:
        import segno

        picture = io.BytesIO()
        code = segno.make(self._of(request).address, micro=False)
        code.save(picture, kind="svg", scale=6, border=2, dark="#000", light="#fff")
        return HttpAnswer(HTTPStatus.OK, picture.getvalue(), "image/svg+xml")
