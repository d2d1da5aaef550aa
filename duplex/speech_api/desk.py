"""Takes requests for speech in: whose key it is, whether there is room, from which page."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from duplex.config import Config
from duplex.protocol.codes import Code
from duplex.server import http
from duplex.server.keys import Keys, Principal, allows_origin
from duplex.server.places import Place, Refusal
from duplex.server.registry import CallRegistry

_RETRY_S = 2  # a request is short; a call may be long, and then it is refused again
Answer = Callable[[http.HttpRequest], Awaitable[http.HttpAnswer | http.StreamedAnswer]]


@dataclass(slots=True)
class Desk:
    """Room for requests beside the calls: both together are at most `server.max_calls`, and calls
    go first. A request counts as a call of its key's while it is answered."""

    config: Config
    keys: Keys
    calls: CallRegistry
    is_stopping: Callable[[], bool]
    open: int = field(default=0, init=False)  # requests that are being answered

    def opener(self, answer: Answer, max_body_bytes: int) -> http.Opener:
        """Return what takes the POST requests of one path."""

        def take(head: http.HttpRequest) -> http.HttpAnswer | http.Exchange:
            if head.method != "POST":
                return http.method_not_allowed("POST")
            owner = http.key_owner(self.keys, head)
            if owner is None:  # a client secret is for calls
                return http.unauthorized()
            return self._refusal(owner, head) or self._begin(owner, answer, max_body_bytes)

        return take

    def _refusal(self, owner: Principal, head: http.HttpRequest) -> http.HttpAnswer | None:
        server, origins = self.config.server, self.config.access.origins
        is_secure = server.tls_certificate or (head.origin is not None and head.origin.is_secure)
        tls_host = head.headers.get("host") if is_secure else None
        if not allows_origin(head.headers.get("origin"), server.host, origins, tls_host):
            message = "Pages of this origin may not ask; see access.origins."
            return http.problem(HTTPStatus.FORBIDDEN, message, "origin_not_allowed")
        if self.is_stopping():
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, "The server is stopping.", 10)
        if len(self.calls) + self.open >= server.max_calls:
            message = f"The server is full ({server.max_calls} calls and requests at a time)."
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, message)
        refusal = self.calls.refusal()
        return None if refusal is None else self._refused(refusal)

    def _refused(self, refusal: Refusal) -> http.HttpAnswer:
        self.calls.refuse(refusal)
        is_quota = refusal.code is Code.RATE_LIMIT
        status = HTTPStatus.TOO_MANY_REQUESTS if is_quota else HTTPStatus.SERVICE_UNAVAILABLE
        return _later(status, refusal.message)

    def _begin(self, owner: Principal, answer: Answer, max_body_bytes: int) -> http.Exchange:
        self.open += 1
        places: list[Place] = []

        async def counted(request: http.HttpRequest) -> http.HttpAnswer | http.StreamedAnswer:
            place = await self.calls.reserve(owner)
            if isinstance(place, Refusal):
                return self._refused(place)
            places.append(place)
            return await answer(request)

        def close() -> None:
            self.open -= 1
            for place in places:
                place.end()

        return http.Exchange(counted, max_body_bytes, close)


def _later(status: HTTPStatus, message: str, retry_s: int = _RETRY_S) -> http.HttpAnswer:
    code = Code.RATE_LIMIT if status is HTTPStatus.TOO_MANY_REQUESTS else Code.SERVER_FULL
    return http.problem(status, message, code, (("Retry-After", str(retry_s)),))
