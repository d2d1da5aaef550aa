"""The shapes of a checkpoint, read from its config.json.

Three kinds of directory are understood: Step-Audio with sections (``step_audio_2``), Step-Audio
with the text fields at the top (``step_audio_qwen2``), and a plain Qwen2 text model.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ADAPTOR_HIDDEN = 2048  # the published code has no setting for it
STEP_VOCABULARY = 158720  # rows of every published Step-Audio embedding
STEP_STOP_IDS = (151643, 151645, 151665)  # <|endoftext|>, <|im_end|>, <|EOT|>

_PUBLISHED_AUDIO = {
    "n_mels": 128,
    "n_audio_ctx": 1500,
    "n_audio_state": 1280,
    "n_audio_head": 20,
    "n_audio_layer": 32,
    "adapter_stride": 2,
}

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """A Qwen2 decoder: biases on q, k and v only, SwiGLU, RMSNorm, rotate-half positions."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    eps: float
    rope_theta: float
    max_positions: int
    tied_embeddings: bool = False

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shapes by the checkpoint's keys; tied embeddings have no output head of their own."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        layer = {
            "self_attn.q_proj.weight": (queries, self.hidden),
            "self_attn.q_proj.bias": (queries,),
            "self_attn.k_proj.weight": (keys, self.hidden),
            "self_attn.k_proj.bias": (keys,),
            "self_attn.v_proj.weight": (keys, self.hidden),
            "self_attn.v_proj.bias": (keys,),
            "self_attn.o_proj.weight": (self.hidden, queries),
            "mlp.gate_proj.weight": (self.intermediate, self.hidden),
            "mlp.up_proj.weight": (self.intermediate, self.hidden),
            "mlp.down_proj.weight": (self.hidden, self.intermediate),
            "input_layernorm.weight": (self.hidden,),
            "post_attention_layernorm.weight": (self.hidden,),
        }
        table = (self.vocab, self.hidden)
        return {
            "model.embed_tokens.weight": table,
            **_repeated("model.layers", self.layers, layer),
            "model.norm.weight": (self.hidden,),
            **({} if self.tied_embeddings else {"lm_head.weight": table}),
        }

    def kv_bytes_per_token(self, element_bytes: int = 2) -> int:
        """Bytes of keys and values that one token leaves in the cache; bf16 by default."""
        return 2 * self.layers * self.kv_heads * self.head_dim * element_bytes


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """A Whisper-large-v3 encoder whose output is halved in time; the MLP is 4 * ``state``."""

    mels: int = 128
    context: int = 1500
    state: int = 1280
    heads: int = 20
    layers: int = 32

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shapes by key, relative to ``encoder.``"""
        state, inner = self.state, 4 * self.state
        layer = {
            **_affine("attn.query", state, state),
            "attn.key.weight": (state, state),
            **_affine("attn.value", state, state),
            **_affine("attn.out", state, state),
            **_affine("attn_ln", state),
            **_affine("mlp.0", inner, state),
            **_affine("mlp.2", state, inner),
            **_affine("mlp_ln", state),
        }
        return {
            **_affine("conv1", state, self.mels, 3),
            **_affine("conv2", state, state, 3),
            "positional_embedding.weight": (self.context, state),
            **_repeated("blocks", self.layers, layer),
            **_affine("after_norm", state),
        }


@dataclass(frozen=True, slots=True)
class AdaptorShape:
    """Encoder frames [.., state] to latents [.., output]; a ``stride`` of 1 has no conv."""

    state: int
    hidden: int
    output: int
    kernel: int = 3
    stride: int = 2

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shapes by key, relative to ``adapter.``"""
        conv = _affine("conv", self.state, self.state, self.kernel) if self.stride > 1 else {}
        return {
            **conv,
            **_affine("linear1", self.hidden, self.state),
            **_affine("linear2", self.output, self.hidden),
        }


@dataclass(frozen=True, slots=True)
class StepAudioConfig:
    """A checkpoint's shapes. A plain Qwen2 directory has neither ``encoder`` nor ``adaptor``."""

    decoder: DecoderShape
    encoder: EncoderShape | None
    adaptor: AdaptorShape | None
    stop_ids: tuple[int, ...]

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of the checkpoint, by its full key."""
        encoder = self.encoder.tensors() if self.encoder else {}
        adaptor = self.adaptor.tensors() if self.adaptor else {}
        return {
            **self.decoder.tensors(),
            **{f"encoder.{key}": shape for key, shape in encoder.items()},
            **{f"adapter.{key}": shape for key, shape in adaptor.items()},
        }

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return count_parameters(self.tensors())


def count_parameters(tensors: Shapes) -> int:
    """Number of weights in tensors of these shapes."""
    return sum(math.prod(shape) for shape in tensors.values())


def _affine(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    """A weight of that shape and a bias as long as its first side."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _repeated(name: str, count: int, layer: Shapes) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{i}.{key}": shape for i in range(count) for key, shape in layer.items()}


R1_32B = StepAudioConfig(  # stepfun-ai/Step-Audio-R1.1
    decoder=DecoderShape(
        layers=64, hidden=5120, intermediate=27648, heads=40, kv_heads=8, head_dim=128,
        vocab=STEP_VOCABULARY, eps=1e-5, rope_theta=1e6, max_positions=65536,
    ),
    encoder=EncoderShape(),
    adaptor=AdaptorShape(state=1280, hidden=ADAPTOR_HIDDEN, output=5120),
    stop_ids=STEP_STOP_IDS,
)  # fmt: skip
MINI_7B = StepAudioConfig(  # stepfun-ai/Step-Audio-2-mini
    decoder=DecoderShape(
        layers=28, hidden=3584, intermediate=18944, heads=28, kv_heads=4, head_dim=128,
        vocab=STEP_VOCABULARY, eps=1e-6, rope_theta=1e6, max_positions=16384,
    ),
    encoder=EncoderShape(),
    adaptor=AdaptorShape(state=1280, hidden=ADAPTOR_HIDDEN, output=3584),
    stop_ids=STEP_STOP_IDS,
)  # fmt: skip


def read_config(directory: Path) -> StepAudioConfig:
    """The shapes of the checkpoint in ``directory``, from config.json or config_origin.json.

    The encoder's numbers must be there when the file has sections, because the defaults of the
    published configuration class fit no published checkpoint; a flat file may leave them out.

    Raises:
        ValueError: no such file, another kind of model, or a setting that is missing, malformed
            or not supported; the message names the file and the key.
    """
    names = ("config.json", "config_origin.json")
    path = next((path for name in names if (path := directory / name).is_file()), None)
    if path is None:
        raise ValueError(f"{directory} is no checkpoint: it has no config.json")
    top = _read(path)
    kind = top.values.get("model_type")
    if kind == "qwen2":
        return StepAudioConfig(_decoder(top, top), None, None, _stop_ids(directory, top, False))
    if kind == "step_audio_2":
        text, audio = top.section("text_config"), top.section("audio_encoder_config")
    elif kind == "step_audio_qwen2":
        given = top.section("audio_encoder_config").values if "audio_encoder_config" in top else {}
        defaults = {**_PUBLISHED_AUDIO, "llm_dim": top.integer("hidden_size")}
        text, audio = top, _Section(f"{path}: audio_encoder_config", {**defaults, **given})
    else:
        raise ValueError(f"{path}: model_type {kind!r} is neither Step-Audio nor qwen2")
    decoder, encoder = _decoder(text, top), _encoder(audio)
    adaptor = _adaptor(audio, encoder, decoder)
    return StepAudioConfig(decoder, encoder, adaptor, _stop_ids(directory, text, True))


@dataclass(frozen=True, slots=True)
class _Section:
    """An object of a config file; ``source`` says where it is, for messages."""

    source: str
    values: Mapping[str, Any]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def section(self, key: str) -> "_Section":
        if not isinstance(values := self._get(key, None), dict):
            raise ValueError(f"{self.source}: {key} is no object")
        return _Section(f"{self.source}: {key}", values)

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{self.source}: {key} must be a positive integer, not {value!r}")
        return value

    def number(self, key: str) -> float:
        value = self._get(key, None)
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise ValueError(f"{self.source}: {key} must be a positive number, not {value!r}")
        return float(value)

    def require(self, key: str, *allowed: object) -> None:
        """Refuse a setting whose value, if any, changes the model in a way not built here."""
        if key in self and self.values[key] not in allowed:
            raise ValueError(f"{self.source}: {key} = {self.values[key]!r} is not supported")

    def _get(self, key: str, default: object) -> Any:
        value = self.values.get(key, default)
        if value is None:
            raise ValueError(f"{self.source}: {key} is missing")
        return value


def _read(path: Path) -> _Section:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is no JSON object")
    return _Section(str(path), values)


def _decoder(text: _Section, top: _Section) -> DecoderShape:
    text.require("rope_scaling", None)
    text.require("use_sliding_window", False, None)
    text.require("hidden_act", "silu")
    rope = text
    if "rope_theta" not in text and "rope_parameters" in text:
        rope = text.section("rope_parameters")  # how transformers 5 writes it
        rope.require("rope_type", "default")
    hidden, heads = text.integer("hidden_size"), text.integer("num_attention_heads")
    if "head_dim" not in text and hidden % heads:
        raise ValueError(f"{text.source}: hidden_size {hidden} is no multiple of {heads} heads")
    tied = text.values.get("tie_word_embeddings", top.values.get("tie_word_embeddings", False))
    longest = "max_position_embeddings"
    return DecoderShape(
        layers=text.integer("num_hidden_layers"),
        hidden=hidden,
        intermediate=text.integer("intermediate_size"),
        heads=heads,
        kv_heads=_kv_heads(text, heads),
        head_dim=text.integer("head_dim", hidden // heads),
        vocab=text.integer("vocab_size"),
        eps=text.number("rms_norm_eps"),
        rope_theta=rope.number("rope_theta"),
        max_positions=text.integer(longest if longest in text else "max_seq_len"),
        tied_embeddings=bool(tied),
    )


def _kv_heads(text: _Section, heads: int) -> int:
    """Step's name for the number and Qwen2's; a file with both must agree with itself."""
    names = [n for n in ("num_key_value_heads", "num_attention_groups") if n in text]
    found = {text.integer(name) for name in names or ["num_key_value_heads"]}
    if len(found) > 1:
        raise ValueError(f"{text.source}: {' and '.join(names)} differ")
    kv_heads = found.pop()
    if heads % kv_heads:
        raise ValueError(f"{text.source}: {heads} heads cannot share {kv_heads} key/value heads")
    return kv_heads


def _encoder(audio: _Section) -> EncoderShape:
    shape = EncoderShape(
        mels=audio.integer("n_mels"),
        context=audio.integer("n_audio_ctx"),
        state=audio.integer("n_audio_state"),
        heads=audio.integer("n_audio_head"),
        layers=audio.integer("n_audio_layer"),
    )
    if shape.state % shape.heads:
        raise ValueError(f"{audio.source}: n_audio_state is no multiple of n_audio_head")
    return shape


def _adaptor(audio: _Section, encoder: EncoderShape, decoder: DecoderShape) -> AdaptorShape:
    audio.require("kernel_size", 3)
    audio.require("adapter_stride", 2, -1)
    if (output := audio.integer("llm_dim")) != decoder.hidden:
        raise ValueError(f"{audio.source}: llm_dim {output} is not hidden_size {decoder.hidden}")
    stride = 1 if audio.values.get("adapter_stride") == -1 else audio.integer("adapter_stride")
    return AdaptorShape(encoder.state, ADAPTOR_HIDDEN, output, stride=stride)


def _stop_ids(directory: Path, text: _Section, step_audio: bool) -> tuple[int, ...]:
    """Ids that end an answer, from both files that may name some.

    The published Step-Audio config class replaces the values of the file by three of its own.
    """
    found = set(_ids(text))
    if (path := directory / "generation_config.json").is_file():
        found.update(_ids(_read(path)))
    if step_audio and text.integer("vocab_size") >= STEP_VOCABULARY:
        found.update(STEP_STOP_IDS)
    return tuple(sorted(found))


def _ids(section: _Section) -> Iterator[int]:
    value = section.values.get("eos_token_id")
    for token in value if isinstance(value, list) else [] if value is None else [value]:
        if not isinstance(token, int) or isinstance(token, bool):
            raise ValueError(f"{section.source}: eos_token_id {token!r} is no token id")
        yield token
