"""From a directory to a model ready to converse."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer

from engine.brain.chat_format import CHATML, ChatFormat, Renderer
from engine.native.adaptor import Adaptor
from engine.native.answering import Manner
from engine.native.brain import NativeBrain
from engine.native.checkpoint import full_keys, load_checkpoint
from engine.native.config import StepAudioConfig, read_config
from engine.native.decoder import Decoder
from engine.native.encoder import Encoder
from engine.native.gguf_weights import GgufModel
from engine.native.graphs import DecodeGraphs
from engine.native.kv_cache import BlockPool
from engine.native.minds import Pace
from engine.native.planning import Limits
from engine.native.runner import Runner
from engine.native.scheduler import Scheduler
from engine.native.sound import AudioTower, SoundConfig
from engine.native.ta4 import Ta4Ids
from engine.native.tokens import STEP_CHAT, SpecialTokens, load_tokenizer

Tell = Callable[[str, float], None]
THINK_OPEN, THINK_CLOSE, NO_THOUGHTS = "<think>\n", "</think>\n", "<think>\n\n</think>\n"
_SHARE_OF_FREE_MEMORY = 0.85  # for the cache; the rest is for activations and graphs
_TOKENS_ON_CPU = 16_384
_BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class NativeOptions:
    """How a model is put on a device. ``cache_tokens`` 0: as many as fit."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    weight_bits: Literal[4, 8, 16] = 16
    context_tokens: int = 8192
    cache_tokens: int = 0
    calls: int = 4  # whose open turns the encoder remembers
    limits: Limits = field(default_factory=Limits)
    sound: SoundConfig = field(default_factory=SoundConfig)
    pace: Pace = field(default_factory=Pace)
    speaks: bool = False  # the model's own speech (ta4), not text for a voice


@dataclass(frozen=True, slots=True)
class NativeModel:
    """A text brain, or one that hears."""

    brain: NativeBrain
    tower: AudioTower | None


def load_model(path: Path, options: NativeOptions, tell: Tell) -> NativeModel:
    """Load a Step-Audio or Qwen2 directory, or one with a Qwen2 GGUF file.

    Raises:
        ValueError: it is none, its files do not fit together, or it cannot speak itself.
        OSError: a file cannot be read.
    """
    found = sorted(path.glob("*.gguf"))
    gguf = GgufModel(found[0]) if found else None
    config = gguf.config if gguf else read_config(path)
    context = min(options.context_tokens, config.decoder.max_positions)
    decoder = Decoder(config.decoder, device=options.device, dtype=options.dtype)
    encoder, adaptor = _ear_parts(config, options)
    destinations = full_keys(
        decoder.destinations(),
        encoder.destinations() if encoder else None,
        adaptor.destinations() if adaptor else None,
    )
    if gguf:
        gguf.load(destinations, tell)
    else:
        load_checkpoint(path, destinations, tell, tied_embeddings=config.decoder.tied_embeddings)
    if options.weight_bits != 16:
        decoder.quantise(options.weight_bits)
    tower = _tower(encoder, adaptor, options)
    scheduler = open_scheduler(decoder, options, context)
    tokenizer = gguf.tokenizer() if gguf else load_tokenizer(path)
    special = SpecialTokens.resolve(tokenizer, config.decoder.vocab) if tower else None
    renderer = Renderer(tokenizer, STEP_CHAT if special else _chatml(tokenizer, config))
    return NativeModel(
        NativeBrain(
            scheduler,
            renderer,
            _manner(path, renderer, special, options),
            context_tokens=context,
            sound_marks=([special.audio_start], [special.audio_end]) if special else None,
        ),
        tower,
    )


def open_scheduler(decoder: Decoder, options: NativeOptions, context_tokens: int) -> Scheduler:
    """The cache, the decode graphs where there is CUDA, and the thread."""
    tokens = options.cache_tokens or _tokens_that_fit(decoder)
    pool = decoder.open_pool(max(1, tokens // _BLOCK_TOKENS), _BLOCK_TOKENS)
    graphs = None
    if decoder.device.type == "cuda":
        graphs = DecodeGraphs(decoder, pool, context_tokens=context_tokens)
    return Scheduler(Runner(decoder, pool, graphs), limits=options.limits)


def _ear_parts(
    config: StepAudioConfig, options: NativeOptions
) -> tuple[Encoder | None, Adaptor | None]:
    if config.encoder is None or config.adaptor is None:
        return None, None
    return (
        Encoder(config.encoder, device=options.device, dtype=options.dtype),
        Adaptor(config.adaptor, device=options.device, dtype=options.dtype),
    )


def _tower(
    encoder: Encoder | None, adaptor: Adaptor | None, options: NativeOptions
) -> AudioTower | None:
    if encoder is None or adaptor is None:
        return None
    # A turn longer than one block begins another while the first is still being encoded.
    blocks = 2 * options.calls * -(-encoder.shape.context // _BLOCK_TOKENS)
    pool: BlockPool = encoder.pool(blocks=blocks, block_tokens=_BLOCK_TOKENS)
    return AudioTower(encoder, adaptor, pool, options.sound)


def _tokens_that_fit(decoder: Decoder) -> int:
    if decoder.device.type != "cuda":
        return _TOKENS_ON_CPU
    free, _ = torch.cuda.mem_get_info(decoder.device)
    per_token = decoder.shape.kv_bytes_per_token(decoder.dtype.itemsize)
    return int(free * _SHARE_OF_FREE_MEMORY) // per_token


def _chatml(tokenizer: Tokenizer, config: StepAudioConfig) -> ChatFormat:
    named = [tokenizer.id_to_token(id_) for id_ in config.stop_ids]
    stop = {token for token in named if token is not None} | set(CHATML.stop)
    return ChatFormat(CHATML.opening, CHATML.closing, tuple(sorted(stop)))


def _manner(
    path: Path, renderer: Renderer, special: SpecialTokens | None, options: NativeOptions
) -> Manner:
    """How the checkpoint thinks and speaks.

    Raises:
        ValueError: it is to speak itself and cannot.
    """
    speech = None
    if options.speaks:
        if special is None:
            raise ValueError(f"{path} has no speech of its own")
        speech = Ta4Ids(
            special.tts_start,
            special.tts_end,
            special.tts_pad,
            special.first_audio,
            special.audio_pad,
            special.audio_codes,
        )
    begin = (speech.start,) if speech else ()
    no_thoughts = renderer.plain(NO_THOUGHTS) if _always_thinks(path) else []
    return Manner(
        renderer,
        think_open=tuple(renderer.plain(THINK_OPEN)),
        think_close=(*renderer.plain(THINK_CLOSE), *begin),
        no_thoughts=(*no_thoughts, *begin),
        pace=options.pace,
        speech=speech,
    )


def _always_thinks(path: Path) -> bool:
    """Whether the checkpoint was trained to begin every answer with a think block: its template
    then does."""
    template = path / "chat_template.jinja"
    if template.is_file():
        return "<think>" in template.read_text()
    settings = path / "tokenizer_config.json"
    if not settings.is_file():
        return False
    return "<think>" in str(json.loads(settings.read_text()).get("chat_template", ""))
