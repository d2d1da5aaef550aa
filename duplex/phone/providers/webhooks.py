"""The paths of the phone providers: which there are, who may use them, and what plain requests are
answered (a provider asks what to do with a call before it opens its stream)."""

import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape, quoteattr

from duplex.config import Config
from duplex.phone.codec import PhoneCodec
from duplex.phone.line.leg import Switchboard
from duplex.phone.providers.exotel import ExotelCodec
from duplex.phone.providers.numbers import numbers_in
from duplex.phone.providers.plivo import PlivoCodec
from duplex.phone.providers.signatures import Form, is_signed_by_twilio, key_of, public_url
from duplex.phone.providers.telnyx import TelnyxCodec
from duplex.phone.providers.twilio import TwilioCodec
from duplex.phone.providers.twilio_rest import TwilioSwitchboard
from duplex.phone.providers.vonage import VonageCodec
from duplex.server.forwarded import Origin
from duplex.server.http import HttpAnswer, HttpRequest, method_not_allowed, problem, unauthorized
from duplex.server.keys import Keys, Principal
from duplex.server.quota import Allowance

logger = logging.getLogger(__name__)

TWILIO = "/twilio"
CODECS: Mapping[str, Callable[[], PhoneCodec]] = {
    TWILIO: TwilioCodec,
    "/telnyx": TelnyxCodec,
    "/plivo": PlivoCodec,
    "/exotel": ExotelCodec,
    "/vonage": VonageCodec,
}
_XML = "text/xml; charset=utf-8"
_MAX_FIELDS = 200


@dataclass(frozen=True, slots=True)
class PhoneRequest:
    """A provider's request, for a stream or a plain one. Names of ``headers`` are in lower case."""

    path: str
    target: str  # path and query
    headers: Mapping[str, str]
    is_tls: bool
    is_stream: bool
    origin: Origin | None = None
    form: Form = field(default_factory=dict)


class PhoneAdmission:
    """Decides which calls of phone providers are let in, streams and the requests before them."""

    def __init__(
        self,
        config: Config,
        keys: Keys,
        has_room: Callable[[Principal], Awaitable[bool]],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """``has_room`` says whether another call of a principal's could be held now."""
        self._config = config
        self._keys = keys
        self._has_room = has_room
        self._is_tls = bool(config.server.tls_certificate)
        name = config.phone.twilio_token_env
        self._twilio_token = environment.get(name, "") if name else ""

    def admit_stream(
        self, target: str, headers: Mapping[str, str], origin: Origin | None = None
    ) -> Principal | HttpAnswer:
        """Return the principal of a stream, or the refusal. ``target`` is the path and query that
        it was asked for with, ``origin`` what trusted proxies say of who asks."""
        path = urlsplit(target).path
        return self._admit(
            PhoneRequest(path, target, headers, is_tls=self._is_tls, is_stream=True, origin=origin)
        )

    def _admit(self, request: PhoneRequest) -> Principal | HttpAnswer:
        """Return the caller's principal, or the refusal. Without a Twilio token, Twilio may call
        if anybody may: if there are no keys and the server is not public."""
        is_closed = self._twilio_token or len(self._keys) or self._config.phone.is_public
        if request.path == TWILIO and is_closed:
            if self._is_signed(request):
                allowance = Allowance(minutes_per_day=self._config.phone.minutes_per_day)
                return Principal("twilio's calls", allowance)
            message = "The signature is missing or wrong."
            return problem(HTTPStatus.FORBIDDEN, message, "invalid_signature")
        key = key_of(request.headers, urlsplit(request.target).query)
        return self._keys.find(key) or unauthorized()

    def _is_signed(self, request: PhoneRequest) -> bool:
        if not self._twilio_token:
            logger.warning("a call of Twilio was refused: no auth token is configured")
            return False
        signature = request.headers.get("x-twilio-signature", "")
        try:
            url = self._url_of(request)
        except ValueError:
            return False
        return is_signed_by_twilio(self._twilio_token, url, request.form, signature)

    def _url_of(self, request: PhoneRequest) -> str:
        """Return the address that the provider asked for.

        Raises:
            ValueError: the request does not show it.
        """
        return public_url(
            self._config.phone,
            request.headers,
            request.target,
            is_tls=request.is_tls,
            is_stream=request.is_stream,
            origin=request.origin,
            root=self._config.server.root(),
        )

    async def page(self, plain: HttpRequest) -> HttpAnswer:
        """Answer a provider that asks what to do with a call, at one of the paths of `CODECS`."""
        if plain.method not in ("GET", "POST"):
            return method_not_allowed("GET, POST")
        target = f"{plain.path}?{plain.query}" if plain.query else plain.path
        try:
            form = parse_qs(plain.body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
            request = PhoneRequest(
                plain.path,
                target,
                plain.headers,
                is_tls=self._is_tls,
                is_stream=False,
                origin=plain.origin,
                form=form,
            )
            url = urlsplit(self._url_of(request))
        except ValueError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error), "invalid_request")
        admitted = self._admit(request)
        if isinstance(admitted, HttpAnswer):
            return admitted
        stream = url._replace(scheme="wss" if url.scheme == "https" else "ws")
        parameters = numbers_in(plain, form)
        if name := assistant_in(plain.query):
            parameters["assistant"] = name
        instructions = _Instructions(plain, stream.geturl(), self._config.phone.busy, parameters)
        return instructions.answer(is_full=not await self._has_room(admitted))

    def switchboard(self, path: str) -> Switchboard | None:
        """Return what can transfer a call of that path, None if nothing can."""
        if path != TWILIO or not self._twilio_token:
            return None
        return TwilioSwitchboard(self._config.phone.twilio_api, self._twilio_token)


@dataclass(frozen=True, slots=True)
class _Instructions:
    """Tells a provider what to do with a call, in its own language."""

    request: HttpRequest
    url: str  # of the stream
    busy: str
    parameters: Mapping[str, str]  # of the call; they come back when the stream begins

    def answer(self, *, is_full: bool) -> HttpAnswer:
        """Have the provider open the stream, or say that the line is busy."""
        match self.request.path:
            case "/vonage":
                action: dict[str, object] = {"action": "talk", "text": self.busy}
                if not is_full:
                    endpoint = {
                        "type": "websocket",
                        "uri": self.url,
                        "content-type": "audio/l16;rate=16000",
                        "headers": self.parameters,
                    }
                    action = {"action": "connect", "endpoint": [endpoint]}
                return HttpAnswer(HTTPStatus.OK, json.dumps([action]).encode())
            case "/exotel":  # it has no words for busy; the stream is refused then
                return HttpAnswer(HTTPStatus.OK, json.dumps({"url": self.url}).encode())
            case "/plivo":
                does, speak = self._plivo(), "Speak"
            case _:  # Telnyx reads TeXML, which is TwiML
                does, speak = self._twiml(), "Say"
        if is_full:
            does = f"<{speak}>{escape(self.busy)}</{speak}><Hangup/>"
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>{does}</Response>\n'
        return HttpAnswer(HTTPStatus.OK, body.encode(), _XML)

    def _twiml(self) -> str:
        url, options = self.url, ' bidirectionalMode="rtp"'
        if self.request.path == TWILIO:
            # Twilio takes no query; what stands there goes along as parameters.
            url, options = self.url.partition("?")[0], ""
        inside = "".join(
            f"<Parameter name={quoteattr(name)} value={quoteattr(value)}/>"
            for name, value in self.parameters.items()
        )
        return f"<Connect><Stream url={quoteattr(url)}{options}>{inside}</Stream></Connect>"

    def _plivo(self) -> str:
        # It takes letters and digits: a number goes without its plus.
        pairs = [f"{name}={value.removeprefix('+')}" for name, value in self.parameters.items()]
        extra = f" extraHeaders={quoteattr(','.join(pairs))}" if pairs else ""
        return (
            '<Stream bidirectional="true" keepCallAlive="true"'
            f' contentType="audio/x-mulaw;rate=8000"{extra}>{escape(self.url)}</Stream>'
        )


def assistant_in(query: str) -> str:
    """The assistant that an address names; empty if it names none."""
    return parse_qs(query).get("assistant", [""])[0]
