"""What was said in a call, as lines of JSON and as WebVTT. Pure."""

from collections.abc import Iterable

import msgspec

from duplex.subtitles import clock, cue_text

VOICES = {"user": "Caller", "assistant": "Assistant", "system": "System", "tool": "Tool"}
_MIN_CUE_S = 0.001  # a cue ends after it begins


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one side said, or wrote, at a time. Times are seconds of the call."""

    role: str  # user, assistant, system or tool
    text: str
    start: float
    end: float
    item_id: str
    cut: bool = False  # an answer that was interrupted: the text is what was heard


def as_jsonl(lines: Iterable[Line]) -> bytes:
    """Return a JSON object a line."""
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def as_vtt(lines: Iterable[Line]) -> str:
    """Return WebVTT (https://www.w3.org/TR/webvtt1/), with the speaker of each cue as its voice."""
    cues = ["WEBVTT\n"]
    for line in lines:
        end = max(line.end, line.start + _MIN_CUE_S)
        words = " ".join(line.text.split())
        cues.append(
            f"{clock(line.start)} --> {clock(end)}\n"
            f"<v {VOICES.get(line.role, line.role)}>{cue_text(words)}\n"
        )
    return "\n".join(cues)
