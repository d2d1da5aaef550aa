"""A checkpoint's config.json: ``step_audio_2`` has sections, ``step_audio_qwen2`` is flat."""

from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig, Qwen2Config

STEP_VOCABULARY = 158720  # rows of every published embedding
STOP_IDS = (151643, 151645, 151665)  # <|endoftext|>, <|im_end|>, <|EOT|>; the published class's
# Fields that Qwen2 names otherwise, or not at all; the first two are Step's.
_OTHER_NAMES = ("num_attention_groups", "max_seq_len", "rope_theta", "rope_scaling")
_TEXT_ALONE = (*_OTHER_NAMES, "head_dim")


class StepAudioEncoderConfig(PretrainedConfig):
    """Sizes of the audio encoder and its adaptor. The defaults are those of published checkpoints,
    unlike those of the published class, which fit none."""

    model_type = "step_audio_2_encoder"

    def __init__(
        self,
        *,
        n_mels: int = 128,
        n_audio_ctx: int = 1500,
        n_audio_state: int = 1280,
        n_audio_head: int = 20,
        n_audio_layer: int = 32,
        llm_dim: int = 5120,
        kernel_size: int = 3,
        adapter_stride: int = 2,
        **others: Any,
    ) -> None:
        """Raises:
        ValueError: a size that the model is not built for.
        """
        if n_audio_state % n_audio_head:
            raise ValueError(
                f"n_audio_state {n_audio_state} is no multiple of {n_audio_head} heads"
            )
        if kernel_size != 3 or adapter_stride not in (2, -1):
            raise ValueError(f"an adaptor of kernel {kernel_size}, stride {adapter_stride}")
        self.n_mels = n_mels
        self.n_audio_ctx = n_audio_ctx
        self.n_audio_state = n_audio_state
        self.n_audio_head = n_audio_head
        self.n_audio_layer = n_audio_layer
        self.llm_dim = llm_dim
        self.kernel_size = kernel_size
        self.adapter_stride = adapter_stride
        super().__init__(**others)


class StepAudio2Config(PretrainedConfig):
    """A checkpoint with sections; ``text_config`` is turned into Qwen2's."""

    model_type = "step_audio_2"

    def __init__(
        self,
        text_config: Mapping[str, Any] | PretrainedConfig | None = None,
        audio_encoder_config: Mapping[str, Any] | PretrainedConfig | None = None,
        **others: Any,
    ) -> None:
        """Raises:
        ValueError: the sections contradict themselves or each other.
        """
        self.text_config = _qwen2(_values(text_config), others)
        audio = _values(audio_encoder_config)
        audio.setdefault("llm_dim", self.text_config.hidden_size)
        self.audio_encoder_config = StepAudioEncoderConfig(**audio)
        if self.audio_encoder_config.llm_dim != self.text_config.hidden_size:
            raise ValueError(
                f"llm_dim {self.audio_encoder_config.llm_dim} is not "
                f"hidden_size {self.text_config.hidden_size}"
            )
        for key in ("eos_token_id", "pad_token_id", "tie_word_embeddings"):
            others[key] = getattr(self.text_config, key)
        super().__init__(**others)


class FlatStepAudio2Config(StepAudio2Config):
    """A checkpoint whose text fields stand at the top, as in config_origin.json."""

    model_type = "step_audio_qwen2"

    def __init__(
        self,
        text_config: Mapping[str, Any] | PretrainedConfig | None = None,
        audio_encoder_config: Mapping[str, Any] | PretrainedConfig | None = None,
        **others: Any,
    ) -> None:
        """Raises:
        ValueError: as `StepAudio2Config`.
        """
        text = set(Qwen2Config.__annotations__).union(_TEXT_ALONE)
        top = {key: value for key, value in others.items() if key not in text}
        super().__init__(text_config or others, audio_encoder_config, **top)


def _values(section: Mapping[str, Any] | PretrainedConfig | None) -> dict[str, Any]:
    values = section.to_dict() if isinstance(section, PretrainedConfig) else dict(section or {})
    for key in ("model_type", "architectures", "auto_map", "transformers_version"):
        values.pop(key, None)
    return values


def _qwen2(values: dict[str, Any], top: Mapping[str, Any]) -> Qwen2Config:
    values.pop("audio_encoder_config", None)
    groups = values.get("num_attention_groups", values.get("num_key_value_heads"))
    if values.setdefault("num_key_value_heads", groups) != groups:
        raise ValueError("num_attention_groups and num_key_value_heads differ")
    values.setdefault("max_position_embeddings", values.get("max_seq_len", 32768))
    values.setdefault("tie_word_embeddings", top.get("tie_word_embeddings", False))
    if values.get("vocab_size", 0) >= STEP_VOCABULARY:
        found = values.get("eos_token_id") or []
        named = found if isinstance(found, list) else [found]
        values["eos_token_id"] = sorted({*named, *STOP_IDS})
    if "rope_theta" in values:
        scaling = values.get("rope_scaling") or {"rope_type": "default"}
        values["rope_parameters"] = {"rope_theta": values["rope_theta"], **scaling}
    return Qwen2Config(**{k: v for k, v in values.items() if k not in _OTHER_NAMES})
