"""Sounds to frames of the frozen encoder, kept in files by the hash of the sound."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.features import SAMPLE_RATE_HZ, STEP_AUDIO_RIGHT_ZEROS, Float32, log_mel, normalize
from engine.native.model.adaptor import latent_count
from engine.native.model.encoder import POOL_FRAMES, Encoder

BLOCK_TOKENS = 16

Frames = NDArray[np.float16]  # [n, state], 25 a second


class FrozenEar:
    """The encoder as the server runs it over a whole turn ("exact"): pooled frames, which the
    adaptor takes. It is loaded when the first new sound comes."""

    def __init__(self, load: Callable[[], Encoder], name: str, folder: Path) -> None:
        """``name`` tells one encoder's files from another's."""
        self._load = load
        self._encoder: Encoder | None = None
        self._loading = threading.Lock()  # threads share it
        self._name = name
        self._folder = folder

    def frames(self, pcm: Float32) -> Frames:
        """Frames of ``pcm``, 16 kHz mono in [-1, 1].

        Raises:
            ValueError: the sound is longer than the encoder's context or shorter than a latent.
            OSError: the file cannot be written.
        """
        digest = hashlib.sha256(self._name.encode() + pcm.tobytes()).hexdigest()[:32]
        path = self._folder / digest[:2] / f"{digest}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            with fresh.open("wb") as file:
                np.save(file, self._encode(pcm).astype(np.float16))
            fresh.replace(path)
        frames: Frames = np.load(path)
        return frames

    @torch.inference_mode()
    def _encode(self, pcm: Float32) -> Float32:
        with self._loading:
            if self._encoder is None:
                self._encoder = self._load()
        encoder = self._encoder
        mel = log_mel(pcm, encoder.shape.mels, right_zeros=STEP_AUDIO_RIGHT_ZEROS)
        count = latent_count(mel.shape[1])
        if count < 1:
            raise ValueError(f"{len(pcm) / SAMPLE_RATE_HZ:g} s of sound are less than a latent")
        pool = encoder.pool(blocks=encoder.shape.context // BLOCK_TOKENS + 1)
        log = pool.open()
        # The last frame is hidden from the others, as the published code does.
        window = encoder.window(torch.from_numpy(normalize(mel)), log, right_edge=True, hidden=1)
        (frames,) = encoder.forward([window], pool)
        log.close()
        pooled = encoder.pooled(frames[: len(frames) // POOL_FRAMES * POOL_FRAMES])
        found: Float32 = pooled.numpy()
        return found


class KeptFrames:
    """The frames of a set of sounds in one file, by name, so that a set that was made is not made
    again to be found in the cache."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Frames] = {}
        self._is_new = False
        if path.exists():
            with np.load(path) as stored:
                self._known = {name: stored[name] for name in stored.files}

    def get(self, name: str, make: Callable[[], Frames]) -> Frames:
        """Those of this name, which ``make`` makes."""
        if name not in self._known:
            self._known[name] = make()
            self._is_new = True
        return self._known[name]

    def keep(self) -> None:
        """Write the file if there is something new.

        Raises:
            OSError: it cannot be written.
        """
        if self._is_new:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new.npz")
            np.savez(fresh, **self._known)  # type: ignore[arg-type]
            fresh.replace(self._path)
            self._is_new = False


def latents_of(frames: Frames) -> int:
    """How many latents an adaptor of stride 2 makes of them."""
    return (len(frames) + 1) // 2
