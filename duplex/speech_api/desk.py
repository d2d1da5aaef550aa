"""Takes requests for speech in: whose key it is, whether there is room, from which page."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from duplex.protocol.codes import Code
from duplex.server import http
from duplex.server.admission import Admission
from duplex.server.keys import Keys, Principal
from duplex.server.places import TRY_AGAIN_LATER, Place, Refusal
from duplex.server.registry import CallRegistry

_RETRY_S = 2  # a request is short; a call may be long, and then it is refused again
Answer = Callable[[http.HttpRequest], Awaitable[http.HttpAnswer | http.StreamedAnswer]]


@dataclass(slots=True)
class Desk:
    """Room for requests beside the calls: both together are at most ``max_calls``, and calls go
    first. A request counts as a call of its key's from before its body is read until it is
    answered."""

    max_calls: int
    keys: Keys
    calls: CallRegistry
    admission: Admission
    open: int = field(default=0, init=False)  # requests that are being answered

    def opener(self, answer: Answer, max_body_bytes: int) -> http.Opener:
        """Return what takes the POST requests of one path."""

        def take(head: http.HttpRequest) -> http.HttpAnswer | http.Exchange:
            if head.method != "POST":
                return http.method_not_allowed("POST")
            owner = http.key_owner(self.keys, head)
            if owner is None:  # a client secret is for calls
                return http.unauthorized()
            return self._refusal(head) or self._begin(owner, answer, max_body_bytes)

        return take

    def _refusal(self, head: http.HttpRequest) -> http.HttpAnswer | None:
        if (refused := self.admission.refusal(head)) is not None:
            return refused
        if len(self.calls) + self.open >= self.max_calls:
            message = f"The server is full ({self.max_calls} calls and requests at a time)."
            return Refusal("full", message, Code.SERVER_FULL, TRY_AGAIN_LATER).answer(_RETRY_S)
        refusal = self.calls.refusal()
        return None if refusal is None else self._refused(refusal)

    def _refused(self, refusal: Refusal) -> http.HttpAnswer:
        self.calls.refuse(refusal)
        return refusal.answer(_RETRY_S)

    def _begin(self, owner: Principal, answer: Answer, max_body_bytes: int) -> http.Exchange:
        self.open += 1
        places: list[Place] = []

        async def admit() -> http.HttpAnswer | None:
            place = await self.calls.reserve(owner, is_call=False)
            if isinstance(place, Refusal):
                return self._refused(place)
            places.append(place)
            return None

        def close() -> None:
            self.open -= 1
            for place in places:
                place.end()

        return http.Exchange(answer, max_body_bytes, close, admit)
