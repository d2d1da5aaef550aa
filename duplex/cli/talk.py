"""`duplex talk`: a conversation with microphone and loudspeaker, or with recordings."""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

from duplex.cli.options import add_command
from duplex.errors import ConfigError

KEY_VARIABLE = "DUPLEX_API_KEY"
DEFAULT_URL = "ws://127.0.0.1:8765/v1/realtime"


def add(commands: Any) -> None:
    """Add the command."""
    summary = "Talk to a server with microphone and loudspeaker, or play recordings to it."
    parser = add_command(commands, "talk", talk, summary)
    parser.add_argument("--url", default=DEFAULT_URL, help=f"server (default {DEFAULT_URL})")
    parser.add_argument(
        "--key", help=f"API key, for servers that want one (default: the variable {KEY_VARIABLE})"
    )
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="PEM file: the server's own certificate, or whose signature is to be trusted",
    )
    parser.add_argument(
        "--foreign",
        action="store_true",
        help="the server is another project's: ask it for nothing special",
    )
    parser.add_argument("--thoughts", action="store_true", help="show the model's reasoning")
    live = parser.add_argument_group("with the microphone")
    live.add_argument("--devices", action="store_true", help="list the sound devices and stop")
    live.add_argument("--input", metavar="DEVICE", help="microphone: number or part of its name")
    live.add_argument("--output", metavar="DEVICE", help="loudspeaker: number or part of its name")
    live.add_argument("--push-to-talk", action="store_true", help="speak only while a key says so")
    live.add_argument(
        "--echo-guard",
        choices=["auto", "on", "off"],
        default="auto",
        help="keep the loudspeaker out of the microphone (default auto: where it is installed)",
    )
    played = parser.add_argument_group("with recordings, one turn each")
    played.add_argument(
        "--file",
        type=Path,
        action="append",
        metavar="FILE",
        help="a recording: WAV, FLAC, MP3, Ogg; with PyAV m4a, webm. Again: the next turn",
    )
    played.add_argument("--save", type=Path, metavar="WAV", help="write what was heard")
    played.add_argument("--timeline", type=Path, metavar="SVG", help="draw the call")


def talk(options: argparse.Namespace) -> int:
    """Talk until the call is over; returns the exit code."""
    from client.realtime import SessionOptions
    from client.talk import TalkOptions
    from client.talk import talk as play

    session = SessionOptions(duplex=not options.foreign, thoughts=options.thoughts)
    if not options.file:
        return _talk_live(options, session)
    wanted = TalkOptions(
        url=options.url,
        files=options.file,
        save=options.save,
        timeline=options.timeline,
        key=_key(options),
        ca=options.ca,
        session=session,
    )
    return asyncio.run(play(wanted))


def _talk_live(options: argparse.Namespace, session: Any) -> int:
    from dataclasses import replace

    from client.live.terminal import LiveOptions, list_devices, live_talk

    if options.devices:
        return list_devices()
    if options.save or options.timeline:
        raise ConfigError("--save and --timeline go with --file")
    wanted = LiveOptions(
        url=options.url,
        key=_key(options),
        ca=options.ca,
        session=replace(session, manual_turns=options.push_to_talk, resume=True),
        input=options.input,
        output=options.output,
        push_to_talk=options.push_to_talk,
        echo_guard=options.echo_guard,
    )
    return asyncio.run(live_talk(wanted))


def _key(options: argparse.Namespace) -> str | None:
    """Another project's server is not sent the key of one of ours."""
    given: str | None = options.key
    return given or (None if options.foreign else os.environ.get(KEY_VARIABLE)) or None
