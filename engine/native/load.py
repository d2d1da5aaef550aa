"""Loads a model from its directory and sets its device up."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer
from torch import Tensor

from engine.brain.chat_format import CHATML, ChatFormat, Renderer
from engine.native.answer_format import AnswerFormat, thinking_format
from engine.native.audio_tower import AudioTower
from engine.native.brain import NativeBrain
from engine.native.device_setup import NativeOptions, open_scheduler, open_tower
from engine.native.minds import Pace
from engine.native.model.adaptor import Adaptor
from engine.native.model.checkpoint import full_keys, load_checkpoint
from engine.native.model.config import R1_32B, StepAudioConfig, read_config
from engine.native.model.decoder import Decoder
from engine.native.model.encoder import Encoder
from engine.native.model.gguf_weights import GgufModel
from engine.native.model.ta4 import Ta4Ids
from engine.native.model.template import with_tools
from engine.native.model.tokens import STEP_CHAT, SpecialTokens, load_tokenizer
from engine.native.ta4_renderer import Ta4Renderer

Progress = Callable[[str, float], None]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NativeModel:
    """A text brain, or one that hears."""

    brain: NativeBrain
    tower: AudioTower | None


def load_model(path: Path, options: NativeOptions, progress: Progress) -> NativeModel:
    """Load a Step-Audio or Qwen2 directory, or one with a Qwen2 GGUF file.

    Raises:
        ValueError: it is none, its files do not fit together, it cannot speak itself, or the
            cache is smaller than the context.
        OSError: a file cannot be read.
    """
    gguf = _gguf(path)
    config = gguf.config if gguf else read_config(path)
    context = min(options.context_tokens, config.decoder.max_positions)
    # What is wrong with the small files is found before the large ones are read.
    tokenizer = gguf.tokenizer() if gguf else load_tokenizer(path)
    special = SpecialTokens.resolve(tokenizer, config.decoder.vocab) if config.encoder else None
    speech = _speech(path, special) if options.speaks else None
    chat_format = with_tools(STEP_CHAT) if special else _chatml(tokenizer, config)
    renderer = (
        Ta4Renderer(tokenizer, chat_format, speech) if speech else Renderer(tokenizer, chat_format)
    )
    decoder = Decoder(
        config.decoder,
        device=options.device,
        dtype=options.dtype,
        bits=16 if gguf else options.weight_bits,
    )
    encoder, adaptor = _ear_parts(config, options)
    destinations = full_keys(
        decoder.destinations(),
        encoder.destinations() if encoder else None,
        adaptor.destinations() if adaptor else None,
    )

    def place(key: str, tensor: Tensor) -> None:
        if not decoder.place(key, tensor):
            destinations[key].copy_(tensor)

    if gguf:
        gguf.load(destinations, progress)
        if options.weight_bits != 16:
            decoder.quantise(options.weight_bits)
    else:
        tied = config.decoder.tied_embeddings
        load_checkpoint(path, destinations, progress, tied_embeddings=tied, placed=place)
    tower = open_tower(encoder, adaptor, options) if encoder and adaptor else None
    brain = NativeBrain(
        open_scheduler(decoder, tower, options, context),
        renderer,
        _answer_format(path, config, renderer, speech, options.pace),
        context_tokens=context,
        sound_marks=([special.audio_start], [special.audio_end]) if special else None,
    )
    return NativeModel(brain, tower)


def _gguf(path: Path) -> GgufModel | None:
    found = sorted(path.glob("*.gguf"))
    if len(found) > 1:
        raise ValueError(f"{path} holds {len(found)} GGUF files; which one is meant is not clear")
    return GgufModel(found[0]) if found else None


def _ear_parts(
    config: StepAudioConfig, options: NativeOptions
) -> tuple[Encoder | None, Adaptor | None]:
    if config.encoder is None or config.adaptor is None:
        return None, None
    return (
        Encoder(config.encoder, device=options.device, dtype=options.dtype),
        Adaptor(config.adaptor, device=options.device, dtype=options.dtype),
    )


def _chatml(tokenizer: Tokenizer, config: StepAudioConfig) -> ChatFormat:
    named = [tokenizer.id_to_token(id_) for id_ in config.stop_ids]
    stop = {token for token in named if token is not None} | set(CHATML.stop)
    return replace(CHATML, stop=tuple(sorted(stop)))


def _speech(path: Path, special: SpecialTokens | None) -> Ta4Ids:
    if special is None:
        raise ValueError(f"{path} has no speech of its own")
    return Ta4Ids(
        special.tts_start,
        special.tts_end,
        special.tts_pad,
        special.first_audio,
        special.audio_pad,
        special.audio_codes,
    )


def _answer_format(
    path: Path, config: StepAudioConfig, renderer: Renderer, speech: Ta4Ids | None, pace: Pace
) -> AnswerFormat:
    """The format of the checkpoint's answers."""
    thinks = always_thinks(path, config)
    return thinking_format(renderer, pace, always_thinks=thinks, speech=speech)


def always_thinks(path: Path, config: StepAudioConfig) -> bool:
    """Whether the checkpoint was trained to begin every answer with a think block.

    Its chat template says so, if there is one. Step-Audio-R1 is published without: its README
    gives vLLM the template on the command line. R1 is told from Step-Audio-2 mini by its width.
    """
    template = _chat_template(path)
    if template:
        thinks, rule = "<think>" in template, "its chat template"
    else:
        is_r1 = config.encoder is not None and config.decoder.hidden == R1_32B.decoder.hidden
        thinks, rule = is_r1, "its shape, for want of a chat template"
    logger.info("%s: answers begin with a think block: %s, by %s", path.name, thinks, rule)
    return thinks


def _chat_template(path: Path) -> str:
    template = path / "chat_template.jinja"
    if template.is_file():
        return template.read_text("utf-8")
    settings = path / "tokenizer_config.json"
    if not settings.is_file():
        return ""
    return str(json.loads(settings.read_text("utf-8")).get("chat_template") or "")
