"""A turn's marks as stages that begin and end."""

from collections.abc import Mapping
from dataclasses import dataclass

# The work, in its order: each stage begins where the one before it ended.
_HEARING = ("pause", "ear")
_MAKING = ("first_token", "first_clause", "first_audio")


@dataclass(frozen=True, slots=True)
class Stage:
    """What was done from one moment of a call to another, in seconds since it began."""

    name: str
    start_s: float
    end_s: float


def hearing(speech_end_s: float, marks_ms: Mapping[str, float]) -> list[Stage]:
    """What lies between the caller's last speech sample and the words of the turn. ``endpoint``,
    the wait until the turn is taken to be over, runs beside the others."""
    found = _chain(_HEARING, speech_end_s, speech_end_s, marks_ms)
    if "endpoint" in marks_ms:
        end_s = speech_end_s + marks_ms["endpoint"] / 1000
        found.append(Stage("endpoint", min(speech_end_s, end_s), end_s))
    return found


def making(speech_end_s: float, marks_ms: Mapping[str, float]) -> list[Stage]:
    """What lies between the words of a turn and the first of the answer that goes out.
    ``released`` is the time in which that was ready, and held back because the turn might go on."""
    found = _chain(_MAKING, speech_end_s, begun_s(speech_end_s, marks_ms), marks_ms)
    if "released" in marks_ms:
        end_s = speech_end_s + marks_ms["released"] / 1000
        ready_s = found[-1].end_s if found else end_s
        found.append(Stage("released", min(ready_s, end_s), end_s))
    return found


def begun_s(speech_end_s: float, marks_ms: Mapping[str, float]) -> float:
    """When the making of an answer began: when the words were known, or, without any, when it was
    asked for."""
    return speech_end_s + marks_ms.get("ear", 0.0) / 1000


def _chain(
    names: tuple[str, ...], zero_s: float, start_s: float, marks_ms: Mapping[str, float]
) -> list[Stage]:
    stages = []
    for name in names:
        if name in marks_ms:
            end_s = zero_s + marks_ms[name] / 1000
            stages.append(Stage(name, min(start_s, end_s), end_s))
            start_s = end_s
    return stages
