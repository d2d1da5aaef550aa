"""How far incremental encoding is from the exact pass, by chunk and look-ahead.

    python -m benchmarks.native.encoder_error

The native engine's encoder with real weights of its family, Whisper's from the model store, hears
the project's own voice through the native engine's own schedule and running maximum. The error of
a frame is |incremental - exact| / |exact| after the last norm, as the caller's turn ends: chunks
as they became stable, and the rest of the turn encoded at its end. "pooled" is what goes to
Step-Audio's adaptor. No time is measured.
"""

import argparse
import json
import platform
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import ctranslate2  # type: ignore[import-untyped]
import numpy as np
import torch
from torch import Tensor

from benchmarks import figures
from client.bench.machine import source_commit
from client.bench.questions import load_questions, record
from duplex.app.build import load_voice
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.config import Config, VoiceConfig
from duplex.model_store import ModelStore, Progress, default_root
from engine.features import STEP_AUDIO_RIGHT_ZEROS, log_mel, normalize
from engine.native.audio_stream import AudioConfig, AudioStream, EncodeRequest
from engine.native.audio_tower import AudioTower
from engine.native.model.adaptor import Adaptor
from engine.native.model.config import AdaptorShape, EncoderShape
from engine.native.model.encoder import Encoder

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
MODELS = ("whisper-tiny.en", "whisper-base")
VOICE = ("piper-joe", "g2p-en")
LATENT_MS = 80
LATENT_FRAMES = 4
CHUNKS = (3, 5, 10, 20)
LOOKAHEADS = (0, 2, 4, 6, 8, 12, 18, 25)
# Of client/bench/questions.toml; the long ones last 10 to 20 s.
SENTENCES = {"ordinary": slice(6), "pauses": slice(3), "long": slice(3, 6)}
NOISE = 0.0005  # of full scale, as in a quiet room
RATE = 16_000
CONTEXT = 1500


@dataclass(frozen=True, slots=True)
class Cell:
    """The errors of one way of cutting, over all frames of all utterances."""

    model: str
    chunk_ms: int
    lookahead_ms: int
    frames: int
    mean: float
    p95: float
    pooled_mean: float
    pooled_p95: float


def read_ctranslate2(path: Path) -> dict[str, Tensor]:
    """The tensors of a CTranslate2 ``model.bin`` in fp32, by their names in it.

    The layout is that of ``serialize`` in ctranslate2/specs/model_spec.py, binary version 6.

    Raises:
        ValueError: it is of another version.
    """
    data = path.read_bytes()
    at = 0

    def take(kind: str) -> int:
        nonlocal at
        [value] = struct.unpack_from("<" + kind, data, at)
        at += struct.calcsize("<" + kind)
        return int(value)

    def text() -> str:
        nonlocal at
        length = take("H")
        at += length
        return data[at - length : at].rstrip(b"\0").decode()

    if (found := take("I")) != 6:
        raise ValueError(f"{path}: binary version {found}, not 6")
    text()  # the specification's name
    take("I")  # and revision
    types = [np.float32, np.int8, np.int16, np.int32, np.float16]
    tensors = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind = np.dtype(types[take("B")])
        size = take("I")
        values = np.frombuffer(data, kind, size // kind.itemsize, at).reshape(shape)
        tensors[name] = torch.from_numpy(values.astype(np.float32))
        at += size
    return tensors


def load_encoder(path: Path) -> Encoder:
    """Whisper's encoder in the native engine's, which is the same but for its pooling."""
    theirs = read_ctranslate2(path)
    state, mels, _ = theirs["encoder/conv1/weight"].shape
    layers = sum(name.endswith("ffn/linear_0/weight") and "encoder" in name for name in theirs)
    encoder = Encoder(EncoderShape(mels, CONTEXT, state, state // 64, layers))
    ours = {
        "positional_embedding.weight": theirs["encoder/position_encodings/encodings"],
        "after_norm.weight": theirs["encoder/layer_norm/gamma"],
        "after_norm.bias": theirs["encoder/layer_norm/beta"],
    }
    for index in range(layers):
        block, layer = f"blocks.{index}", f"encoder/layer_{index}"
        attention, feed = f"{layer}/self_attention", f"{layer}/ffn"
        for kind in ("weight", "bias"):
            parts = theirs[f"{attention}/linear_0/{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                ours[f"{block}.attn.{name}.{kind}"] = part
            ours[f"{block}.attn.out.{kind}"] = theirs[f"{attention}/linear_1/{kind}"]
            ours[f"{block}.mlp.0.{kind}"] = theirs[f"{feed}/linear_0/{kind}"]
            ours[f"{block}.mlp.2.{kind}"] = theirs[f"{feed}/linear_1/{kind}"]
        for kind, norm in (("weight", "gamma"), ("bias", "beta")):
            ours[f"{block}.attn_ln.{kind}"] = theirs[f"{attention}/layer_norm/{norm}"]
            ours[f"{block}.mlp_ln.{kind}"] = theirs[f"{feed}/layer_norm/{norm}"]
        assert not ours.pop(f"{block}.attn.key.bias").any(), "Whisper's keys have no bias"
    for name in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
        ours[name] = theirs["encoder/" + name.replace(".", "/")]
    for name, destination in encoder.destinations().items():
        destination.copy_(ours.pop(name))
    assert not ours, "every tensor has its place"
    return encoder


def check(encoder: Encoder, directory: Path, pcm: Samples) -> float:
    """Relative difference to CTranslate2's own encoder over Whisper's 30 s window.

    Raises:
        ValueError: it is more than rounding, so that no figure here would mean anything.
    """
    mel = normalize(log_mel(np.pad(pcm, (0, 30 * RATE - len(pcm))), encoder.shape.mels))
    whisper = ctranslate2.models.Whisper(str(directory), compute_type="float32")
    encoded = whisper.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None])))
    theirs = torch.from_numpy(np.array(encoded))[0]
    pool = encoder.pool(blocks=100)
    window = encoder.window(torch.from_numpy(mel), pool.open(), right_edge=True)
    ours = encoder.norm(encoder.forward([window], pool)[0])
    difference = float((ours - theirs).norm() / theirs.norm())
    if difference > 1e-3:
        raise ValueError(f"the encoder is {difference:.4f} from CTranslate2's")
    return difference


def utterances(store: ModelStore) -> list[Samples]:
    """Sentences of the benchmark's callers at 16 kHz, some with pauses in them."""
    voice = load_voice(Config(voice=VoiceConfig(model=VOICE[0])), store, Progress(None))

    def speak(text: str) -> Samples:
        samples = np.concatenate([chunk.samples for chunk in voice.synthesize(text)])
        return resample(samples, voice.sample_rate, 24_000)

    rng = np.random.default_rng(0)
    questions, spoken = load_questions(), []
    for which, some in SENTENCES.items():
        for question in getattr(questions, which)[some]:
            pcm = resample(record(question, speak).samples, 24_000, RATE)
            pcm = np.pad(0.5 * pcm / np.abs(pcm).max(), RATE * 3 // 10)
            noise = NOISE * rng.standard_normal(len(pcm))
            spoken.append((pcm + noise).astype(np.float32))
    return spoken


def requests(stream: AudioStream, *, exact: bool) -> Iterator[EncodeRequest]:
    """All that is asked of the encoder for a turn."""
    while stream.due() and not exact:
        yield stream.step()
    last = stream.exact() if exact else stream.finish()
    assert last is not None
    yield last


def encode(
    encoder: Encoder,
    pcm: Samples,
    config: AudioConfig,
    *,
    exact: bool = False,
    clip_maximum: bool = False,
) -> Tensor:
    """The frames [F, state] of a turn, before pooling and the last norm; with the clip's own
    maximum in the log-mel instead of the running one if asked."""
    pool = encoder.pool(blocks=CONTEXT // 16)
    # Only its stride is of use: it says how many frames a latent has.
    schedule = Adaptor(AdaptorShape(state=1, hidden=1, output=1))
    stream = AudioTower(encoder, schedule, pool, config).open()
    stream.feed(pcm)
    [whole] = requests(stream, exact=True)
    log, parts = pool.open(), []
    for request in requests(stream, exact=exact):
        edge = request.right_edge
        mel = request.mel
        if clip_maximum:
            left = max(0, 2 * LATENT_FRAMES * request.start - 2)
            mel = whole.mel[:, left : left + mel.shape[1]]
        window = encoder.window(mel, log, right_edge=edge, hidden=int(edge))
        [frames] = encoder.forward([window], pool)
        kept = len(frames) if edge else request.stable * LATENT_FRAMES
        parts.append(frames[:kept])
        log.truncate(log.length - len(frames) + kept)
    return torch.cat(parts)


def errors(ours: Tensor, exact: Tensor) -> Tensor:
    """Of each frame."""
    relative: Tensor = (ours - exact).norm(dim=1) / exact.norm(dim=1)
    return relative


def measure(name: str, encoder: Encoder, spoken: list[Samples]) -> Iterator[Cell]:
    """Every chunk with every look-ahead."""
    truths = [encode(encoder, pcm, AudioConfig(), exact=True) for pcm in spoken]
    for chunk in CHUNKS:
        for lookahead in LOOKAHEADS:
            config = AudioConfig(chunk, lookahead)
            frames, pooled = [], []
            for pcm, truth in zip(spoken, truths, strict=True):
                ours = encode(encoder, pcm, config)
                frames.append(errors(encoder.norm(ours), encoder.norm(truth)))
                pooled.append(errors(encoder.pooled(ours), encoder.pooled(truth)))
            every, pairs = torch.cat(frames), torch.cat(pooled)
            yield Cell(
                name,
                chunk * LATENT_MS,
                lookahead * LATENT_MS,
                len(every),
                round(float(every.mean()), 4),
                round(float(every.quantile(0.95)), 4),
                round(float(pairs.mean()), 4),
                round(float(pairs.quantile(0.95)), 4),
            )


def by_utterance(encoder: Encoder, spoken: list[Samples]) -> dict[str, list[float]]:
    """Mean errors of each utterance's pooled frames at the default chunk and look-ahead: with the
    running maximum, with the clip's instead, and the difference between those two."""
    found: dict[str, list[float]] = {"running": [], "clip": [], "running against clip": []}
    for pcm in spoken:
        exact = encoder.pooled(encode(encoder, pcm, AudioConfig(), exact=True))
        running = encoder.pooled(encode(encoder, pcm, AudioConfig()))
        clip = encoder.pooled(encode(encoder, pcm, AudioConfig(), clip_maximum=True))
        pairs = ((running, exact), (clip, exact), (running, clip))
        for means, (ours, theirs) in zip(found.values(), pairs, strict=True):
            means.append(round(float(errors(ours, theirs).mean()), 4))
    return found


def plot(cells: list[Cell]) -> str:
    """Mean error of the pooled frames over the look-ahead: a panel a model, a line a chunk."""
    names = list(dict.fromkeys(cell.model for cell in cells))
    colours = (figures.GREY, figures.BLUE, figures.ORANGE, figures.PURPLE)
    drawn, panels = figures.figure(len(names), width_in=4.0 * len(names))
    for axes, name in zip(panels, names, strict=True):
        for chunk, colour in zip(CHUNKS, colours, strict=True):
            ms = chunk * LATENT_MS
            line = [c for c in cells if c.model == name and c.chunk_ms == ms]
            points = [c.lookahead_ms for c in line], [c.pooled_mean for c in line]
            axes.plot(*points, "o-", markersize=4, color=colour, label=f"chunk {ms} ms")
        axes.set_title(name)
        axes.set_xlabel("look-ahead, ms")
    panels[0].set_ylabel("mean relative error of the pooled frames")
    panels[0].set_ylim(bottom=0)
    panels[-1].legend()
    return figures.svg(drawn)


def table(cells: list[Cell]) -> str:
    """Mean / 95th percentile of the pooled frames' errors, a row a chunk."""
    lines = []
    for name in dict.fromkeys(cell.model for cell in cells):
        ahead = "".join(f"{n * LATENT_MS:>12}" for n in LOOKAHEADS)
        lines.append(f"{name:16}{ahead}  look-ahead, ms")
        for chunk in CHUNKS:
            row = [c for c in cells if c.model == name and c.chunk_ms == chunk * LATENT_MS]
            marks = "".join(f"{f'{c.pooled_mean:.3f}/{c.pooled_p95:.2f}':>12}" for c in row)
            lines.append(f"{f'chunk {chunk * LATENT_MS} ms':16}{marks}")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, default=default_root(), help="the model store")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write")
    arguments = parser.parse_args()
    store = ModelStore(arguments.models)
    store.ensure([*MODELS, *VOICE])
    spoken = utterances(store)
    cells: list[Cell] = []
    parity, utterance = {}, {}
    for name in MODELS:
        directory = store.path(name)
        encoder = load_encoder(directory / "model.bin")
        parity[name] = check(encoder, directory, spoken[0])
        utterance[name] = by_utterance(encoder, spoken)
        cells += measure(name, encoder, spoken)
    found = {
        "commit": source_commit(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("torch", "ctranslate2", "numpy")},
        "utterances_s": [round(len(pcm) / RATE, 2) for pcm in spoken],
        "right_zeros": STEP_AUDIO_RIGHT_ZEROS,
        "difference_to_ctranslate2": parity,
        "pooled_mean_by_utterance": utterance,
        "cells": [asdict(cell) for cell in cells],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "encoder_error.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.out / "encoder_error.svg").write_text(plot(cells))
    print(table(cells))
    print(f"by utterance: {utterance}")
    print(f"difference to CTranslate2: {parity}")


if __name__ == "__main__":
    main()
