"""What a request brings as sound, and the placeholders that stand for it in the prompt.

Each recording, or each tensor of latents, has one ``<audio_patch>`` in the prompt. It becomes as
many as there are latents. ``<audio_start>`` and ``<audio_end>`` around it are the prompt's, because
a block of latents may come in several pieces; only between the blocks of a recording of more than
25 s are they put in here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature
from vllm.config.multimodal import MultiModalDummyOptions
from vllm.exceptions import VLLMValidationError
from vllm.inputs import MultiModalDataDict
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import AudioEmbeddingItems, MultiModalDataItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdate,
    PromptUpdateDetails,
)
from vllm.multimodal.processing.processor import (
    MultiModalProcessingResult,
    PlaceholderFeaturesInfo,
)

from duplex_vllm.config import StepAudio2Config, StepAudioEncoderConfig
from duplex_vllm.tower import (
    BLOCK_FRAMES,
    BLOCK_SAMPLES,
    SAMPLE_RATE_HZ,
    latent_count,
    latents_of_blocks,
    log_mel,
)

START, PATCH, END = "<audio_start>", "<audio_patch>", "<audio_end>"
_FIELDS = {
    "audio_embeds": MultiModalFieldConfig.batched("audio"),
    "mel": MultiModalFieldConfig.batched("audio"),
}


class StepAudioDataParser(MultiModalDataParser):
    """Takes recordings, a tensor of latents [items, rows, hidden], or a list of [rows, hidden]."""

    def _parse_audio_data(self, data: Any) -> Any:
        try:
            if isinstance(data, Mapping):
                if set(data) != {"audio_embeds"}:
                    raise ValueError(f"audio has the fields {sorted(data)}, not audio_embeds alone")
                data = data["audio_embeds"]
                latents = data if isinstance(data, Tensor) else list(data)
                parsed: Any = AudioEmbeddingItems(latents, self.expected_hidden_size)
            else:
                parsed = super()._parse_audio_data(data)
            if isinstance(parsed, AudioEmbeddingItems):
                _check(parsed)
            return parsed
        except ValueError as error:  # else a caller's mistake would look like one of the server
            raise VLLMValidationError(str(error), parameter="audio") from error


def _check(items: AudioEmbeddingItems) -> None:
    """What the engine would fail on, with all its requests, fails here, with one.

    Raises:
        ValueError: the latents are no rows of finite numbers.
    """
    for index in range(len(items)):
        latents = items.get(index)
        if not latents.is_floating_point() or not len(latents):
            raise ValueError(
                f"audio_embeds [{index}] must be rows of floating point numbers, not "
                f"{tuple(latents.shape)} of {latents.dtype}"
            )
        if not latents.isfinite().all():
            raise ValueError(f"audio_embeds [{index}] has numbers that are not finite")


class StepAudioInfo(BaseProcessingInfo):
    """What the model takes."""

    def get_hf_config(self) -> StepAudio2Config:
        """The checkpoint's."""
        config: StepAudio2Config = self.ctx.get_hf_config(StepAudio2Config)
        return config

    @property
    def audio(self) -> StepAudioEncoderConfig:
        """The part of the configuration about sound."""
        return self.get_hf_config().audio_encoder_config

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """As many recordings as fit in the context."""
        return {"audio": None}

    def get_data_parser(self) -> StepAudioDataParser:
        """Reads ``multi_modal_data``."""
        return StepAudioDataParser(
            target_sr=SAMPLE_RATE_HZ,
            target_channels=1,
            expected_hidden_size=self.get_hf_config().text_config.hidden_size,
        )

    def get_mm_max_tokens_per_item(
        self, seq_len: int, mm_counts: Mapping[str, int]
    ) -> Mapping[str, int]:
        """The latents of a block, which is what memory is set aside for."""
        latents = latent_count(BLOCK_FRAMES, self.audio.adapter_stride)
        return {"audio": latents} if mm_counts.get("audio") else {}


class StepAudioDummyInputs(BaseDummyInputsBuilder[StepAudioInfo]):
    """Blocks of silence, by which vLLM finds how much memory sound needs."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """A placeholder for each."""
        return (START + PATCH + END) * mm_counts.get("audio", 0)

    def get_dummy_mm_data(
        self,
        seq_len: int,
        mm_counts: Mapping[str, int],
        mm_options: MultiModalDummyOptions,
    ) -> MultiModalDataDict:
        """Whole blocks."""
        count = mm_counts.get("audio", 0)
        return {
            "audio": self._get_dummy_audios(
                length=BLOCK_SAMPLES, num_audios=count, overrides=mm_options.get("audio")
            )
        }


class StepAudioProcessor(BaseMultiModalProcessor[StepAudioInfo]):
    """Recordings to log-mel; latents go through."""

    def _call_hf_processor(
        self, hf_data: Mapping[str, object], hf_kwargs: Mapping[str, object]
    ) -> BatchFeature:
        audios = hf_data["audio"]
        assert isinstance(audios, Sequence)
        mels = self.info.audio.n_mels
        return BatchFeature({"mel": [log_mel(torch.as_tensor(a), mels) for a in audios]})

    def _maybe_apply_prompt_updates(
        self, mm_items: MultiModalDataItems, mm_res: MultiModalProcessingResult
    ) -> tuple[list[int], Mapping[str, list[PlaceholderFeaturesInfo]]]:
        """Also takes a prompt in which the placeholders are as many as the latents."""
        updates = mm_res.prompt_updates.get("audio", [])
        expanded = [alternatives[0].content.full for alternatives in updates]
        patch = self._marks[1]
        ids = collapsed(mm_res.prompt_ids, expanded, patch) if expanded else mm_res.prompt_ids
        result: tuple[list[int], Mapping[str, list[PlaceholderFeaturesInfo]]] = (
            super()._maybe_apply_prompt_updates(mm_items, mm_res._replace(prompt_ids=ids))
        )
        return result

    @property
    def _marks(self) -> tuple[int, int, int]:
        vocabulary = self.info.get_tokenizer().get_vocab()
        return vocabulary[START], vocabulary[PATCH], vocabulary[END]

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return _FIELDS

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        start, patch, end = self._marks
        stride = self.info.audio.adapter_stride

        def placeholders(index: int) -> PromptUpdateDetails:
            item = out_mm_kwargs["audio"][index]
            if "audio_embeds" in item:
                counts = [len(item["audio_embeds"].data)]
            else:
                counts = latents_of_blocks(item["mel"].data.shape[1], stride)
            if not counts:
                raise VLLMValidationError(f"recording {index} is too short to be heard")
            ids = [patch] * counts[0]
            for count in counts[1:]:
                ids += [end, start, *[patch] * count]
            return PromptUpdateDetails.select_token_id(ids, patch)

        return [PromptReplacement(modality="audio", target=[patch], replacement=placeholders)]


def collapsed(prompt: list[int], expanded: Sequence[list[int]], patch: int) -> list[int]:
    """``prompt`` with one placeholder for each item, which may stand there ``expanded`` already.

    Raises:
        VLLMValidationError: the placeholders are neither as many as the items nor as their latents.
    """
    found = prompt.count(patch)
    if found == len(expanded):
        return prompt
    latents = sum(ids.count(patch) for ids in expanded)
    fault = (
        f"{found} {PATCH} in the prompt, for {len(expanded)} items of audio with {latents} latents"
    )
    if found != latents:
        raise VLLMValidationError(fault)
    ids: list[int] = []
    position = 0
    for item in expanded:
        begin = prompt.index(patch, position)
        if prompt[begin : begin + len(item)] != item:
            raise VLLMValidationError(f"{fault}: they are not where the latents are")
        ids += [*prompt[position:begin], patch]
        position = begin + len(item)
    return ids + prompt[position:]
