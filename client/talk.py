"""`duplex talk`: hold a conversation from recordings and show it as it happens."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from client.caller.caller import CallOptions, CallResult, Utterance, hold_call
from client.drawing.picture import call_svg, text_timeline
from client.realtime import (
    SAMPLE_RATE_HZ,
    ClientError,
    SessionOptions,
    connect,
    realtime_url,
)
from client.screen import Screen
from client.sound.speech import Recording, read_speech
from duplex.audio.files import write_wav

OK, FAILED, USAGE = 0, 1, 2  # exit codes


@dataclass(frozen=True, slots=True)
class TalkOptions:
    """What to say, to whom, and what to keep.

    ``files`` are recordings, one turn each; `duplex.audio.files.read_sound` says in which formats.
    ``save`` gets what the caller heard from the call's beginning to its end, 24 kHz; ``timeline``
    a picture (SVG), also shown in characters.
    ``session.duplex`` asks a server of this project for the stage marks; leave it off for any
    other.
    """

    url: str
    files: Sequence[Path]
    save: Path | None = None
    timeline: Path | None = None
    key: str | None = None
    ca: Path | None = None  # a PEM file: whom to trust, in place of the system's
    model: str | None = None
    session: SessionOptions = field(default_factory=SessionOptions)
    gap_ms: float = 600.0
    answer_timeout_s: float = 20.0


def load_recording(path: Path) -> Recording:
    """Read a recording of any rate as 24 kHz speech.

    Raises:
        ClientError: it cannot be read, or holds no speech.
    """
    try:
        return Recording(id=path.stem, text="", samples=read_speech(path))
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ClientError(str(error)) from error


async def talk(options: TalkOptions, out: TextIO | None = None) -> int:
    """Play the recordings into one call; print, save and return the exit code.

    0: every turn was answered. 1: the server or the call failed, or a turn went unanswered.
    2: a recording cannot be used or a result not written. Every message is for a person to read.
    """
    screen = Screen(out or sys.stdout)
    try:
        _check_writable(options)
        utterances = [Utterance(load_recording(path)) for path in options.files]
    except ClientError as error:
        screen.line(f"error: {error}")
        return USAGE
    try:
        url = realtime_url(options.url, options.model)
        client = await connect(url, key=options.key, ca=options.ca)
        result = await hold_call(
            client,
            utterances,
            CallOptions(
                session=options.session,
                gap_ms=options.gap_ms,
                answer_timeout_s=options.answer_timeout_s,
            ),
            on_event=screen.event,
            on_turn=screen.turn,
        )
    except ClientError as error:
        screen.line(f"error: {error}")
        return FAILED
    return _finish(options, result, screen)


def _check_writable(options: TalkOptions) -> None:
    """A conversation should not be held first and then be lost for a wrong path."""
    for path in (options.save, options.timeline):
        if path is not None:
            try:
                path.open("ab").close()
            except OSError as error:
                raise ClientError(f"cannot write {path}: {error.strerror or error}") from error


def _finish(options: TalkOptions, result: CallResult, screen: Screen) -> int:
    if result.lost is not None:
        screen.line(f"error: {result.lost}")
    if options.save is not None:
        write_wav(options.save, result.heard, SAMPLE_RATE_HZ)
        screen.line(f"answer saved to {options.save}")
    if options.timeline is not None:
        screen.line(text_timeline(result))
        options.timeline.write_text(call_svg(result), encoding="utf-8")
        screen.line(f"timeline saved to {options.timeline}")
    answered = all(turn.v2v_ms is not None and not turn.errors for turn in result.turns)
    complete = result.lost is None and len(result.turns) == len(options.files)
    return OK if answered and complete else FAILED
