"""A phone call from its first message to its last: chooses the assistant, and holds the line."""

import asyncio
import contextlib
import logging
from pathlib import Path

from websockets.exceptions import ConnectionClosed

from duplex.config import AssistantConfig, Config
from duplex.dialogue.parts import Parts
from duplex.errors import ConfigError, ProtocolError
from duplex.logs import CallLogger, call_logger
from duplex.metrics import Metrics
from duplex.phone.assistants import (
    LINE_TOOLS,
    assistant_named,
    line_settings,
    session_of,
    tools_of,
)
from duplex.phone.codec import PhoneCodec
from duplex.phone.functions import Functions, load_functions
from duplex.phone.line.leg import Leg, PhoneSocket, Switchboard
from duplex.phone.line.line import PhoneLine
from duplex.phone.providers.tolerance import TolerantCodec
from duplex.phone.speech import Speaker, Spoken
from duplex.server.gate import POLICY_VIOLATION
from duplex.server.keys import Principal
from duplex.server.places import Refusal
from duplex.server.registry import CallRegistry

logger = logging.getLogger(__name__)


class PhoneCalls:
    """All phone calls of a server, those of providers and those of SIP phones."""

    def __init__(self, config: Config, parts: Parts, metrics: Metrics, calls: CallRegistry) -> None:
        """
        Raises:
            ConfigError: an assistant's functions, voice or model cannot be used.
        """
        self._config = config
        self._parts = parts
        self._metrics = metrics
        self._calls = calls
        self._spoken: Spoken = {}
        self._functions = {"": Functions()}  # by their file
        for name, assistant in config.assistants.items():
            path = assistant.functions
            if path not in self._functions:
                self._functions[path] = load_functions(Path(path))
            _check(name, assistant, parts, self._functions[path])

    async def finish(self, patience_s: float) -> None:
        """Wait for functions that still run after their calls, ``patience_s`` at most."""
        await asyncio.gather(*(f.finish(patience_s) for f in self._functions.values()))

    async def hold(
        self,
        socket: PhoneSocket,
        codec: PhoneCodec,
        principal: Principal,
        provider: str,
        switchboard: Switchboard | None = None,
        assistant: str = "",
        call_id: str = "",
    ) -> None:
        """Hold a phone call until either side hangs up. ``assistant`` is the one that answers if
        the call's own parameters name none; ``call_id`` is from `CallRegistry.new_id`, if the call
        has one already."""
        call_id = call_id or self._calls.new_id()
        log = call_logger(logger, call_id)
        clock = asyncio.get_running_loop().time
        codec = TolerantCodec(codec, provider, self._metrics, log, clock)
        leg = Leg(socket, codec, switchboard, self._config.server.stall_s, call_id)
        try:
            async with asyncio.timeout(self._config.limits.handshake_s):
                started = await leg.receive_start()
        except (ProtocolError, TimeoutError):
            log.info("a phone line of %s did not begin as it should", provider)
            self._metrics.count("duplex_refused_total", reason="phone_start")
            await socket.close(POLICY_VIOLATION, "no start")
            return
        except ConnectionClosed:
            return
        admitted = self._calls.refusal() or await self._calls.reserve(principal)
        if isinstance(admitted, Refusal):
            self._calls.refuse(admitted)
            await socket.close(admitted.close_code, admitted.kind.replace("_", " "))
            return
        try:
            answering = self._assistant(started.parameters.get("assistant") or assistant, log)
            functions = self._functions[answering.functions]
            tools = tools_of(answering, transfers=switchboard is not None)
            session = session_of(
                self._config,
                self._parts.defaults,
                answering,
                started.encoding,
                (*functions.tools, *tools),
            )
            speed, output = self._config.voice.speed, session.audio.output
            speaker = Speaker(self._parts, output, started.encoding, speed, self._spoken)
            self._metrics.count("duplex_phone_calls_total", provider=provider)
            call = self._calls.open(
                principal,
                session,
                provider,
                admitted,
                shape="typed",
                call_id=call_id,
                client=provider,
                caller=started.caller,
                called=started.called,
                traceparent=started.traceparent,
            )
            notice = call.observers.take_notice()
            line = PhoneLine(
                started.encoding,
                session.audio.input.format,
                line_settings(
                    self._config, answering, tools, can_say=speaker.can_say, notice=notice
                ),
                frame_ms=codec.frame_ms,
                has_marks=codec.has_marks,
            )
            async with leg.running(line, speaker, functions, call.observers):
                with contextlib.suppress(ConnectionClosed):
                    await call.hold(leg)
        finally:
            admitted.give_back()

    def _assistant(self, name: str, log: CallLogger) -> AssistantConfig:
        """Return the assistant of that name, the default one if there is none."""
        assistant = assistant_named(self._config, name)
        if assistant is None:
            log.warning("names an assistant that is not configured: the default answers")
            assistant = assistant_named(self._config, None)
        assert assistant is not None, "the configuration was checked"
        return assistant


def _check(name: str, assistant: AssistantConfig, parts: Parts, functions: Functions) -> None:
    """
    Raises:
        ConfigError: the assistant names what is not loaded, or a function has the name of one of
            the line's own.
    """
    for kind, wanted, known in (
        ("voice", assistant.voice, parts.voice_names),
        ("model", assistant.model, parts.models),
    ):
        if wanted and wanted not in known:
            raise ConfigError(
                f"assistants.{name}.{kind}: {wanted} is not loaded, only {', '.join(known)}"
            )
    for tool in LINE_TOOLS:
        if tool in functions:
            raise ConfigError(f"{assistant.functions}: {tool} is what the phone line itself can do")
