"""What a Step-Audio checkpoint says by engine.native's parts, whole prompts at a time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.errors import EngineError
from engine.features import Float32
from engine.native.audio_stream import AudioConfig, EncodeRequest
from engine.native.audio_tower import AudioTower, EncodedAudio
from engine.native.model.adaptor import Adaptor
from engine.native.model.checkpoint import full_keys, load_checkpoint
from engine.native.model.config import read_config
from engine.native.model.decoder import Decoder, Rows, make_batch
from engine.native.model.encoder import Encoder

LATENT = -1  # in a prompt: here is a latent


class StepReference:
    """A checkpoint's weights in fp32."""

    def __init__(self, directory: Path, audio: AudioConfig | None = None) -> None:
        config = read_config(directory)
        assert config.encoder is not None
        assert config.adaptor is not None
        self._decoder = Decoder(config.decoder)
        encoder, adaptor = Encoder(config.encoder), Adaptor(config.adaptor)
        destinations = full_keys(
            self._decoder.destinations(), encoder.destinations(), adaptor.destinations()
        )
        load_checkpoint(directory, destinations, lambda what, done: None)
        audio = audio or AudioConfig(hearing="exact")
        self._tower = AudioTower(encoder, adaptor, encoder.pool(blocks=256), audio)

    @torch.inference_mode()
    def log_probabilities(self, ids: Sequence[int], latents: Tensor | None = None) -> Tensor:
        """[N, V] of what follows each place of a prompt; ``latents`` [n, C] stand at `LATENT`."""
        pool = self._decoder.open_pool(blocks=len(ids) // 16 + 1)
        log = pool.open()
        rows = Rows(log, log.extend(list(range(len(ids)))))
        places = torch.tensor(ids)
        x = self._decoder.embed(places.clamp(min=0))
        if latents is not None:
            x[places == LATENT] = latents
        hidden = self._decoder.forward(x, make_batch([rows], "cpu"), pool)
        return self._decoder.logits(hidden).log_softmax(dim=1)

    def greedy(self, ids: Sequence[int], count: int, latents: Tensor | None = None) -> list[int]:
        """The ``count`` likeliest tokens after a prompt."""
        known = list(ids)
        for _ in range(count):
            known.append(int(self.log_probabilities(known, latents)[-1].argmax()))
        return known[len(ids) :]

    def hear(self, pcm: Float32, piece: int = 6400) -> list[list[Tensor]]:
        """The latents of a turn: for each block its pieces [n, C], as they become stable."""
        stream = self._tower.open()
        blocks: list[list[Tensor]] = []

        def keep(request: EncodeRequest | None) -> None:
            if request is None:
                return
            encoded = self._tower.encode([request])[0]
            assert not isinstance(encoded, EngineError), encoded
            assert isinstance(encoded, EncodedAudio)
            if encoded.block == len(blocks):
                blocks.append([])
            rows = torch.cat([encoded.stable, encoded.provisional])
            blocks[encoded.block].append(rows if request.stable == 0 else encoded.stable)

        for start in range(0, len(pcm), piece):
            stream.feed(np.asarray(pcm[start : start + piece]))
            while stream.due():
                keep(stream.step())
        keep(stream.finish())
        stream.close()
        return [[rows for rows in block if len(rows)] for block in blocks]
