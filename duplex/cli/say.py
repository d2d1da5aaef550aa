"""`duplex say`: the words of a text as they will be spoken, and their sound."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duplex.config import Config, load_config
from duplex.errors import ConfigError, DuplexError
from duplex.toml_file import parse_assignment
from tts.text.segment import Segmenter
from tts.text.unspoken import speech

if TYPE_CHECKING:
    from duplex.audio.formats import Samples
    from tts.types import Voice

SUMMARY = "Print the words of a text as they will be spoken, or write their sound."
_PAUSE_S = 0.5  # between two texts in a file
_FORMATS = (".wav", ".flac")


def add(commands: Any) -> None:
    """Add the command to the sub-parsers ``commands``."""
    parser: argparse.ArgumentParser = commands.add_parser("say", help=SUMMARY, description=SUMMARY)
    parser.set_defaults(command=run)
    parser.add_argument(
        "text", nargs="*", metavar="TEXT", help="what to say; without any, each line of the input"
    )
    parser.add_argument(
        "--locale",
        help="whether 5/6 is in May, as in en-US (default), or in June: voice.locale",
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="write the sound, as WAV or FLAC by the ending"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file; names the voice")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="any option of the configuration file, voice.model for one",
    )


def run(options: argparse.Namespace) -> int:
    """Print a line for each text; with --save write their sound, one after the other.

    Raises:
        ConfigError: the file's ending is neither .wav nor .flac, or there is nothing to write.
        ModelError: the voice cannot be installed.
    """
    from duplex.app.build_voices import language_of_first

    if options.save is not None and options.save.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--save {options.save}: the file's name must end in .wav or .flac")
    overrides = {
        "voice.locale": options.locale,
        **dict(parse_assignment(text) for text in options.set),
    }
    config = load_config(options.config, overrides)
    language = language_of_first(config.voice)
    texts = []
    for text in options.text or _lines(sys.stdin):
        print(" ".join(speech(text, config.voice.locale, language).split()), flush=True)
        texts.append(text)
    if options.save is not None:
        _save(texts, config, options.save)
    return 0


def _lines(source: Iterable[str]) -> Iterator[str]:
    return (line.rstrip("\r\n") for line in source)


def _save(texts: list[str], config: Config, path: Path) -> None:
    import numpy as np
    import soundfile

    from duplex.app import build
    from duplex.model_store import Progress
    from tts.errors import VoiceError

    store = build.open_store(config)
    voice = build.load_voice(config, store, Progress(sys.stderr))
    pause = np.zeros(round(_PAUSE_S * voice.sample_rate), np.float32)
    try:
        pieces = [piece for text in texts for piece in (*spoken(voice, text), pause)][:-1]
    except VoiceError as error:
        raise DuplexError(str(error)) from error
    if not any(len(piece) for piece in pieces):
        raise ConfigError("there is nothing to say")
    try:
        soundfile.write(path, np.concatenate(pieces), voice.sample_rate)
    except soundfile.LibsndfileError as error:
        raise ConfigError(f"--save {path}: {error}") from error


def spoken(voice: "Voice", text: str, speed: float = 1.0) -> "Iterator[Samples]":
    """The sound of ``text`` as an answer, clause by clause, in pieces at the voice's rate."""
    utterance = voice.open(speed)
    segmenter = Segmenter()
    for clause in (*segmenter.feed(text), *segmenter.finish()):
        yield from (chunk.samples for chunk in utterance.feed(clause))
    yield from (chunk.samples for chunk in utterance.finish())
