"""Step-Audio-2 in vLLM: its Qwen2 decoder, with latents in place of token embeddings."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import (
    MultiModalEmbeddings,
    SupportsMultiModal,
    SupportsPP,
)
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.sequence import IntermediateTensors

from duplex_vllm.config import StepAudio2Config
from duplex_vllm.processing import (
    END,
    PATCH,
    START,
    StepAudioDummyInputs,
    StepAudioInfo,
    StepAudioProcessor,
)
from duplex_vllm.tower import BLOCK_FRAMES, Adaptor, AudioEncoder, latent_count


@MULTIMODAL_REGISTRY.register_processor(
    StepAudioProcessor, info=StepAudioInfo, dummy_inputs=StepAudioDummyInputs
)
class StepAudio2ForCausalLM(nn.Module, SupportsMultiModal, SupportsPP):
    """A checkpoint of Step-Audio-2 or Step-Audio-R1.

    Without recordings (``--limit-mm-per-prompt '{"audio": 0}'``) the tower is not loaded; latents
    are still taken with ``--enable-mm-embeds``. Each rank of a tensor-parallel group has the whole
    tower.
    """

    packed_modules_mapping: ClassVar[dict[str, list[str]]] = {
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            "model.": "language_model.model.",
            "lm_head.": "language_model.lm_head.",
        }
    )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """What stands for a recording in a template that takes messages as text."""
        if modality.startswith("audio"):
            return START + PATCH + END
        raise ValueError(f"Step-Audio takes audio, not {modality}")

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        assert isinstance(config, StepAudio2Config)
        self.config = config
        self.dtype = vllm_config.model_config.dtype
        with self._mark_tower_model(vllm_config, "audio"):  # type: ignore[operator]
            self.encoder = AudioEncoder(config.audio_encoder_config)
            self.adapter = Adaptor(config.audio_encoder_config)
        with self._mark_language_model(vllm_config):  # type: ignore[operator]
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=config.text_config,
                prefix=maybe_prefix(prefix, "language_model"),
                architectures=["Qwen2ForCausalLM"],
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    def embed_multimodal(self, **kwargs: object) -> MultiModalEmbeddings:
        """Latents [n, hidden] of each item: ``audio_embeds`` themselves, or those of ``mel``."""
        latents = kwargs.get("audio_embeds")
        if latents is not None:
            assert isinstance(latents, Tensor | list)
            return [item.to(self.dtype) for item in latents]
        mels = kwargs.get("mel")
        if mels is None:
            return []
        assert isinstance(mels, Tensor | list)
        return [self._hear(mel) for mel in mels]

    def _hear(self, mel: Tensor) -> Tensor:
        """Latents of a recording. Blocks go one by one: they are long, and few are as long as
        another."""
        heard = []
        for block in mel.to(self.dtype).split(BLOCK_FRAMES, dim=1):
            count = latent_count(block.shape[1], self.adapter.stride)
            heard.append(self.adapter(self.encoder(block))[:count])
        return torch.cat(heard)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor | IntermediateTensors:
        """The decoder's hidden states."""
        if intermediate_tensors is not None:
            inputs_embeds = None
        hidden: Tensor | IntermediateTensors = self.language_model.model(
            input_ids, positions, intermediate_tensors, inputs_embeds=inputs_embeds
        )
        return hidden

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Logits over the vocabulary."""
        logits: Tensor | None = self.language_model.compute_logits(hidden_states)
        return logits

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Take the checkpoint's tensors by their published names."""
        loaded: set[str] = AutoWeightsLoader(self).load_weights(
            weights, mapper=self.hf_to_vllm_mapper
        )
        return loaded
