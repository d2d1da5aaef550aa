"""What the measurements run on: a model of given shapes with random weights, and calls on it."""

import string
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from torch import Tensor

from engine.brain.chat_format import Renderer
from engine.native.answer_format import AnswerFormat
from engine.native.audio_stream import AudioConfig
from engine.native.audio_tower import AudioTower
from engine.native.brain import NativeBrain
from engine.native.latents import LatentNames
from engine.native.minds import Pace
from engine.native.model.adaptor import Adaptor
from engine.native.model.config import AdaptorShape, DecoderShape, EncoderShape, StepAudioConfig
from engine.native.model.decoder import Decoder
from engine.native.model.encoder import Encoder
from engine.native.model.tokens import STEP_CHAT
from engine.native.runtime.graphs import SIZES, DecodeGraphs
from engine.native.runtime.runner import Runner
from engine.native.runtime.scheduler import Scheduler
from engine.native.turn_encoder import TurnEncoder
from engine.types import GenerationOptions, Message, RawPiece

RATE = 16_000
PACKET_SAMPLES = 320  # 20 ms, as audio comes over the wire
CHUNK_S = 0.4  # the default of `AudioConfig`
BLOCK_TOKENS = 16
NEVER = 1_000_000  # latents in a chunk that is never full: everything waits for the end
HISTORY = [Message("system", "You are a helpful assistant. " * 4)]  # one id per character
MARKS = ("<audio_start>", "<audio_end>")
TINY = StepAudioConfig(
    decoder=DecoderShape(2, 128, 128, 4, 2, 32, 512, 1e-6, 1e4, 4096),
    encoder=EncoderShape(state=32, heads=2, layers=2),
    adaptor=AdaptorShape(state=32, hidden=48, output=128),
    stop_ids=(),
)


@dataclass(frozen=True, slots=True)
class BedOptions:
    """``cache_tokens`` of the decoder and ``encoder_frames`` are for all calls together."""

    device: torch.device
    dtype: torch.dtype
    cache_tokens: int
    encoder_frames: int
    context_tokens: int = 8192
    graph_sizes: tuple[int, ...] = SIZES


class Bed:
    """A model on a device with its caches."""

    def __init__(self, config: StepAudioConfig, options: BedOptions) -> None:
        assert config.encoder is not None
        assert config.adaptor is not None
        self.config, self.options, self.device = config, options, options.device
        place = {"device": options.device, "dtype": options.dtype}
        self.decoder = Decoder(config.decoder, **place)  # type: ignore[arg-type]
        encoder = Encoder(config.encoder, **place)  # type: ignore[arg-type]
        adaptor = Adaptor(config.adaptor, **place)  # type: ignore[arg-type]
        for part in (self.decoder, encoder, adaptor):
            randomise(part.destinations(), options.device)
        self.pool = self.decoder.open_pool(options.cache_tokens // BLOCK_TOKENS, BLOCK_TOKENS)
        for memory in (*self.pool.keys, *self.pool.values):
            memory.normal_()  # zeros can be faster than what calls leave there
        frames = encoder.pool(blocks=options.encoder_frames // BLOCK_TOKENS)
        self.tower = AudioTower(encoder, adaptor, frames)
        whole = replace(AudioConfig(), chunk=NEVER)
        self.batch_tower = AudioTower(encoder, adaptor, frames, whole)
        self.renderer, self.marks = make_renderer(config.decoder.vocab)

    @cached_property
    def graphs(self) -> DecodeGraphs:
        """Captured when they are first asked for."""
        options = self.options
        return DecodeGraphs(
            self.decoder,
            self.pool,
            context_tokens=options.context_tokens,
            sizes=options.graph_sizes,
        )

    @cached_property
    def graph_tower(self) -> AudioTower:
        """The ear with its chunks as graphs, recorded when they are first asked for."""
        tower = AudioTower(self.tower.encoder, self.tower.adaptor, self.tower.pool)
        tower.use_graphs()
        return tower

    @contextmanager
    def brain(self, thoughts_between: int = 80) -> Iterator[NativeBrain]:
        """The model with its thread, as the server has it; thoughts come in segments of
        ``thoughts_between`` tokens."""
        answer_format = AnswerFormat(
            self.renderer,
            think_open=tuple(self.renderer.plain("<think>"))[:3],
            think_close=tuple(self.renderer.plain("</think>"))[:3],
            no_thoughts=tuple(self.renderer.plain("<think></think>"))[:6],
            pace=Pace(thought_tokens=thoughts_between),
        )
        scheduler = Scheduler(Runner(self.decoder, self.pool, self.graphs))
        try:
            yield NativeBrain(
                scheduler,
                self.renderer,
                answer_format,
                context_tokens=self.options.context_tokens,
                sound_marks=self.marks,
            )
        finally:
            scheduler.close()


class Call:
    """One caller on the server's own path: what is heard goes into the log while they speak."""

    def __init__(self, bed: Bed, brain: NativeBrain, *, batch: bool = False) -> None:
        """``batch``: nothing is encoded before the turn is over, and then in one exact pass."""
        self._session = brain.open()
        tower = bed.batch_tower if batch else bed.tower
        self._turn = TurnEncoder(tower, brain.scheduler, LatentNames(), bed.marks)
        self._heard = 0

    async def begin(self) -> None:
        """The prompt before the turn is in the log."""
        await self._session.prefill(HISTORY)

    def append(self, pcm: NDArray[np.float32]) -> None:
        """Audio that has come."""
        self._turn.append(pcm)

    async def keep_up(self) -> None:
        """Encode and prefill what is due."""
        sound = await self._turn.advance()
        if len(sound.ids) > self._heard:
            self._heard = len(sound.ids)
            await self._session.prefill(HISTORY, sound)

    async def hear(self, pcm: NDArray[np.float32]) -> None:
        """Audio as it comes, with all that is due done in between, as fast as possible."""
        step = PACKET_SAMPLES * 4
        for start in range(0, len(pcm), step):
            self.append(pcm[start : start + step])
            await self.keep_up()

    async def end(self) -> list[Message]:
        """The caller has said all: the conversation as the model is to be shown it."""
        return [*HISTORY, Message("user", "", await self._turn.finish())]

    async def answer(
        self, messages: list[Message], options: GenerationOptions
    ) -> AsyncGenerator[RawPiece, None]:
        """The model's answer; it may be left at any time."""
        async with aclosing(self._session.generate(messages, options)) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        """Give all memory back."""
        await self._turn.close()
        await self._session.close()


def randomise(named: Mapping[str, Tensor], device: torch.device, seed: int = 0) -> None:
    """Fill weights in place so that activations keep their size: matrices of variance one over
    their inputs, norms of one, no biases."""
    generator = torch.Generator(device).manual_seed(seed)
    for name, tensor in named.items():
        if tensor.dim() == 1:
            tensor.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            tensor.normal_(std=tensor[0].numel() ** -0.5, generator=generator)


def make_renderer(vocab: int) -> tuple[Renderer, tuple[list[int], list[int]]]:
    """A tokenizer that has a word for every id, and the ids around what is heard. One id for
    each character of a prompt, because nothing is merged."""
    special = [*STEP_CHAT.stop, "<|BOT|>", *MARKS]
    characters = [c for c in string.printable if c.isprintable() and c != " "]
    characters += ["\u0120", "\u010a"]  # how byte-level tokenizers write a blank and a line's end
    words = [f"\u0120w{index}" for index in range(vocab - len(special) - len(characters))]
    tokens = {token: index for index, token in enumerate(characters + words)}
    tokenizer = Tokenizer(BPE(vocab=tokens, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    last = vocab - len(MARKS)  # added tokens have the highest ids, in their order
    endless = replace(STEP_CHAT, stop=())  # or a random token would end an answer now and then
    return Renderer(tokenizer, endless), ([last], [last + 1])


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Something to hear: what it is does not change how long anything takes."""
    samples = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    return (0.1 * samples).astype(np.float32)
