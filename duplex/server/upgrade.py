"""What a WebSocket upgrade is answered with, in the shapes that websockets sends."""

from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.typing import Subprotocol

from duplex.server.http import HttpAnswer


def as_response(answer: HttpAnswer) -> Response:
    """Return an answer in the shape in which websockets sends it before an upgrade."""
    headers = Headers(answer.all_headers())
    return Response(answer.status.value, answer.status.phrase, headers, answer.body)


def realtime_if_offered(
    connection: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Browsers hang up unless one of theirs is chosen; other clients offer none."""
    return Subprotocol("realtime") if "realtime" in offered else None
