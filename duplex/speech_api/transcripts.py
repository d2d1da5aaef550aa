"""What was heard in a recording, as clients want it: JSON, text, subtitles. Pure."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from duplex.dialogue.languages import name_of
from duplex.subtitles import clock, cue_text
from engine.ear.passage import Passage, TimedWord

Format = Literal["json", "text", "srt", "vtt", "verbose_json"]
FORMATS: tuple[str, ...] = get_args(Format)
_ENDS_SENTENCE = (".", "?", "!", "\u3002", "\uff1f", "\uff01")
_LINE_S = 7.0  # of a subtitle: longer ones are cut between words


@dataclass(frozen=True, slots=True)
class HeardPassage:
    """A passage at its place in the recording, in seconds; its words have their places too."""

    start_s: float
    end_s: float
    heard: Passage


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a transcript, in seconds from the recording's beginning."""

    start_s: float
    end_s: float
    text: str
    of: Passage
    tokens: tuple[int, ...] = ()


def joined(texts: Iterable[str]) -> str:
    """Texts one after the other."""
    return " ".join(text for text in texts if text)


def segments_of(passages: Sequence[HeardPassage], *, lines: bool = False) -> list[Segment]:
    """The passages, cut into sentences where the times of words are known; as ``lines`` of
    subtitles also within long sentences."""
    made: list[Segment] = []
    for passage in passages:
        heard = passage.heard
        if not heard.words:
            if heard.text:
                made.append(
                    Segment(passage.start_s, passage.end_s, heard.text, heard, heard.tokens)
                )
            continue
        groups = _sentences(heard.words, lines)
        for group in groups:
            text = _text(group, heard)
            tokens = heard.tokens if len(groups) == 1 else ()
            made.append(Segment(group[0].start_s, group[-1].end_s, text, heard, tokens))
    return made


def _text(group: Sequence[TimedWord], heard: Passage) -> str:
    words = [word.text for word in group]
    spaced = " ".join(word.text for word in heard.words) == heard.text
    return (" " if spaced or " " in heard.text else "").join(words)


def _sentences(words: Sequence[TimedWord], lines: bool) -> list[list[TimedWord]]:
    groups: list[list[TimedWord]] = [[]]
    for word in words:
        group = groups[-1]
        is_long = lines and group and word.end_s - group[0].start_s > _LINE_S
        if group and (is_long or group[-1].text.endswith(_ENDS_SENTENCE)):
            groups.append([])
        groups[-1].append(word)
    return [group for group in groups if group]


def words_of(passages: Sequence[HeardPassage]) -> list[TimedWord]:
    """All words of the recording."""
    return [word for passage in passages for word in passage.heard.words]


def moved(heard: Passage, words: Sequence[TimedWord]) -> Passage:
    """``heard`` with its ``words`` at their places in the recording."""
    return replace(heard, words=tuple(words))


def as_json(passages: Sequence[HeardPassage], duration_s: float) -> dict[str, Any]:
    """``response_format`` json."""
    text = joined(passage.heard.text for passage in passages)
    return {"text": text, "usage": _usage(duration_s)}


def as_verbose_json(
    passages: Sequence[HeardPassage], duration_s: float, granularities: frozenset[str]
) -> dict[str, Any]:
    """``response_format`` verbose_json, with the times that were asked for."""
    languages = [passage.heard.language for passage in passages if passage.heard.text]
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": name_of(max(set(languages), key=languages.count)).lower()
        if languages and languages[0]
        else "",
        "duration": round(duration_s, 3),
        "text": joined(passage.heard.text for passage in passages),
        "usage": _usage(duration_s),
    }
    if "segment" in granularities:
        answer["segments"] = [
            _segment(number, segment) for number, segment in enumerate(segments_of(passages))
        ]
    if "word" in granularities:
        answer["words"] = [
            {"word": word.text, "start": word.start_s, "end": word.end_s}
            for word in words_of(passages)
        ]
    return answer


def as_srt(passages: Sequence[HeardPassage]) -> str:
    """SubRip subtitles."""
    lines = segments_of(passages, lines=True)
    return "".join(
        f"{number}\n{clock(s.start_s, ',')} --> {clock(s.end_s, ',')}\n{s.text}\n\n"
        for number, s in enumerate(lines, start=1)
    )


def as_vtt(passages: Sequence[HeardPassage]) -> str:
    """WebVTT subtitles."""
    lines = segments_of(passages, lines=True)
    cues = (f"{clock(s.start_s)} --> {clock(s.end_s)}\n{cue_text(s.text)}\n\n" for s in lines)
    return "WEBVTT\n\n" + "".join(cues)


def _usage(duration_s: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(duration_s, 3)}


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    data = segment.text.encode()
    return {
        "id": number,
        "seek": round(segment.start_s * 100),
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": 0.0,
        "avg_logprob": segment.of.mean_log_probability,
        "compression_ratio": len(data) / len(zlib.compress(data)) if data else 1.0,
        "no_speech_prob": segment.of.no_speech_probability,
    }
