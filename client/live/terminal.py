"""`duplex talk` without recordings: a conversation with microphone and loudspeaker."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

from client.caller.caller import set_up
from client.live.connection import Connection
from client.live.devices import DeviceError, describe
from client.live.echo_canceller import EchoGuard, WebRtcCanceller
from client.live.keys import has_keys, keys_to
from client.live.live_client import OPEN_KEYS, PUSH_KEYS, LiveClient, Parts
from client.live.pyaudio_card import PortAudio
from client.live.soundcard import SoundCard
from client.realtime import ClientError, SessionOptions, connect, realtime_url
from client.screen import Screen
from client.talk import FAILED, OK, USAGE

EchoGuardChoice = Literal["auto", "on", "off"]
NO_GUARD = "the echo guard needs the package livekit: pip install 'duplex-r1[mic]'"


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Whom to call, with what devices (a number, or a part of a name; None: the default), and
    how. ``echo_guard``: "auto" is on where its package is installed."""

    url: str
    key: str | None = None
    ca: Path | None = None  # a PEM file: whom to trust, in place of the system's
    model: str | None = None
    session: SessionOptions = field(default_factory=SessionOptions)
    input: str | None = None
    output: str | None = None
    push_to_talk: bool = False
    echo_guard: EchoGuardChoice = "auto"


def list_devices(out: TextIO | None = None) -> int:
    """Print the sound devices; returns an exit code."""
    screen = Screen(out or sys.stdout)
    try:
        system = PortAudio()
    except DeviceError as error:
        screen.line(f"error: {error}")
        return USAGE
    try:
        lines = describe(system.devices())
    finally:
        system.close()
    for line in lines or ["this machine has no sound devices"]:
        screen.line(line)
    return OK if lines else USAGE


async def live_talk(options: LiveOptions, out: TextIO | None = None) -> int:
    """Talk until the caller hangs up; print both sides; return the exit code.

    0: the caller hung up. 1: the server or the call failed, a device was lost on the way.
    2: a device cannot be used or a package is missing. Every message is for a person to read.
    """
    screen = Screen(out or sys.stdout)
    try:
        if options.push_to_talk and not has_keys():
            raise DeviceError("push-to-talk needs a terminal with keys")
        guard = _guard(options.echo_guard, screen)
        system = PortAudio()
    except DeviceError as error:
        screen.line(f"error: {error}")
        return USAGE
    try:
        try:
            card = system.card(options.input, options.output)
        except DeviceError as error:
            screen.line(f"error: {error}")
            return USAGE
        screen.line(f"microphone: {card.source.name}, loudspeaker: {card.sink.name}")
        return await _talk(options, card, guard, screen)
    finally:
        system.close()


async def _talk(
    options: LiveOptions, card: SoundCard, guard: EchoGuard | None, screen: Screen
) -> int:
    try:
        url = realtime_url(options.url, options.model)
        client = await connect(url, key=options.key, ca=options.ca)
        line = Connection(client, url, options.key, screen.line, ca=options.ca)
        try:
            await set_up(client, options.session, line.note)
            call = LiveClient(
                Parts(line, card, screen, guard),
                push_to_talk=options.push_to_talk,
                expects_marks=options.session.duplex,
            )
            if has_keys():
                screen.line(PUSH_KEYS if options.push_to_talk else OPEN_KEYS)
            with keys_to(call.press), _signals_to(call):
                await call.run()
        finally:
            await line.close()
    except ClientError as error:
        screen.line(f"error: {error}")
        return FAILED
    screen.line("the call is over")
    return OK


def _guard(choice: EchoGuardChoice, screen: Screen) -> EchoGuard | None:
    """
    Raises:
        DeviceError: it is wanted and its package is missing.
    """
    if choice == "off":
        return None
    try:
        return EchoGuard(WebRtcCanceller())
    except ImportError as error:
        if choice == "on":
            raise DeviceError(NO_GUARD) from error
        screen.line(f"note: {NO_GUARD}. Without it use headphones.")
        return None


@contextlib.contextmanager
def _signals_to(call: LiveClient) -> Iterator[None]:
    """Ctrl-C and SIGTERM hang up in good order, where the system has such signals."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        for number in signals:
            loop.add_signal_handler(number, call.press, "q")
    except (NotImplementedError, ValueError):  # Windows; another thread than the main one
        yield
        return
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
