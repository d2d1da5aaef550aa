"""Shapes of token2wav, read from ``flow.yaml`` without running it.

The file is hyperpyyaml: its ``!new:package.Class`` tags would construct whatever they name. Here
a tag becomes plain data, and only the classes and options that this package implements pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]

CLASS = "!new"  # the key that holds a tag's class in the plain data


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """The flow encoder: tokens at 25 Hz to hidden frames at 50 Hz."""

    input_size: int = 512
    size: int = 512
    heads: int = 8
    feed_forward: int = 2048
    blocks: int = 6
    up_blocks: int = 4
    lookahead: int = 3  # tokens
    up_rate: int = 2
    key_bias: bool = True


@dataclass(frozen=True, slots=True)
class DitConfig:
    """The estimator of the flow's velocity."""

    inputs: int = 320  # mel * 4: the noisy mel, the encoder's, the speaker, the prompt's
    mels: int = 80
    hidden: int = 512
    depth: int = 16
    heads: int = 8
    head_dim: int = 64
    mlp_ratio: float = 4.0


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """Codes to mel. ``guidance`` is the strength of classifier-free guidance."""

    vocab: int = 6561
    input_size: int = 512
    mels: int = 80
    speaker: int = 192
    guidance: float = 0.7
    encoder: EncoderConfig = EncoderConfig()
    dit: DitConfig = DitConfig()


@dataclass(frozen=True, slots=True)
class HiftConfig:
    """Mel to samples; the checkpoint has no file that says these, so they are the published
    ones. One mel frame becomes ``prod(up_rates) * hop`` = 480 samples."""

    mels: int = 80
    channels: int = 512
    harmonics: int = 8
    sample_rate: int = 24_000
    sine_amplitude: float = 0.1
    noise_std: float = 0.003
    voiced_hz: float = 10.0
    up_rates: tuple[int, ...] = (8, 5, 3)
    up_kernels: tuple[int, ...] = (16, 11, 7)
    n_fft: int = 16
    hop: int = 4
    kernels: tuple[int, ...] = (3, 7, 11)
    source_kernels: tuple[int, ...] = (7, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)
    slope: float = 0.1
    limit: float = 0.99
    f0_channels: int = 512

    @property
    def samples_per_frame(self) -> int:
        """Samples of one mel frame."""
        samples = self.hop
        for rate in self.up_rates:
            samples *= rate
        return samples


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML in which ``!new:x`` gives a mapping with the class under `CLASS`, ``!ref`` a `_Ref`."""


@dataclass(frozen=True, slots=True)
class _Ref:
    key: str


def _new(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode) and not node.value:
        return {CLASS: name}  # no arguments
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"!new:{name} needs named arguments")
    return {CLASS: name, **loader.construct_mapping(node, deep=True)}


def _ref(loader: yaml.SafeLoader, node: yaml.Node) -> _Ref:
    text = str(loader.construct_scalar(node)) if isinstance(node, yaml.ScalarNode) else ""
    if not (text.startswith("<") and text.endswith(">") and text[1:-1].isidentifier()):
        raise ValueError(f"!ref {text!r}: only a reference to one top-level key is understood")
    return _Ref(text[1:-1])


_PlainLoader.add_multi_constructor("!new:", _new)
_PlainLoader.add_constructor("!ref", _ref)


def load_plain(text: str) -> dict[str, Any]:
    """``flow.yaml`` as plain data: tags as mappings, references to top-level keys filled in.

    Raises:
        ValueError: it is no YAML mapping, has a tag that would do something else, or a
            reference to nothing or in a circle.
    """
    try:
        top = yaml.load(text, _PlainLoader)  # a SafeLoader: it constructs plain data only
    except yaml.YAMLError as error:
        raise ValueError(f"flow.yaml cannot be read: {error}") from error
    if not isinstance(top, dict):
        raise ValueError("flow.yaml holds no mapping")

    def fill(value: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(value, _Ref):
            if value.key not in top or value.key in inside:
                raise ValueError(f"flow.yaml: !ref <{value.key}> leads nowhere")
            return fill(top[value.key], (*inside, value.key))
        if isinstance(value, dict):
            return {key: fill(item, inside) for key, item in value.items()}
        return value

    return {key: fill(value, (key,)) for key, value in top.items()}


_Known = tuple[str, Mapping[str, object]]  # a class and the options that have one value here
_DROPOUTS = ("dropout_rate", "positional_dropout_rate", "attention_dropout_rate")
_FLOW: _Known = ("CausalMaskedDiffWithXvec", {"output_type": "mel", "input_embedding": None})
_ENCODER: _Known = (
    "UpsampleConformerEncoderV2",
    {
        "input_layer": "linear",
        "pos_enc_layer_type": "rel_pos_espnet",
        "selfattention_layer_type": "rel_selfattn",
        "normalize_before": True,
        "activation_type": "swish",
    },
)
_SOLVER: _Known = ("CausalConditionalCFM", {})
_DIT: _Known = ("DiT", {})


class _Arguments:
    """Arguments of one ``!new:`` tag, taken one by one; one that is left over is an error."""

    def __init__(self, value: object, where: str, known: _Known) -> None:
        name, fixed = known
        if not isinstance(value, dict) or str(value.get(CLASS)).rpartition(".")[2] != name:
            found = value.get(CLASS) if isinstance(value, dict) else value
            raise ValueError(f"flow.yaml: {where} must be a !new:...{name}, not {found!r}")
        self._where = where
        self._left = {k: v for k, v in value.items() if k != CLASS and k not in _DROPOUTS}
        for key, only in fixed.items():
            given = self._left.pop(key, only)
            if given != only:
                raise ValueError(f"flow.yaml: {where}.{key} = {given!r} is not implemented")

    def whole(self, key: str, default: int) -> int:
        value = self._left.pop(key, default)
        if type(value) is not int or value < 1:
            raise ValueError(f"flow.yaml: {self._where}.{key} = {value!r} is no positive integer")
        return value

    def number(self, key: str, default: float) -> float:
        value = self._left.pop(key, default)
        if type(value) not in (int, float) or value <= 0:
            raise ValueError(f"flow.yaml: {self._where}.{key} = {value!r} is no positive number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._left.pop(key, default)
        if type(value) is not bool:
            raise ValueError(
                f"flow.yaml: {self._where}.{key} = {value!r} is neither true nor false"
            )
        return value

    def part(self, key: str, known: _Known) -> "_Arguments":
        return _Arguments(self._left.pop(key, None), f"{self._where}.{key}", known)

    def done(self) -> None:
        if self._left:
            raise ValueError(f"flow.yaml: {self._where} has unknown keys {sorted(self._left)}")


def parse_flow_yaml(text: str) -> FlowConfig:
    """The shapes in ``flow.yaml``.

    Raises:
        ValueError: it names a class or an option that is not implemented here, or shapes that
            do not fit together; the message says which.
    """
    flow = _Arguments(load_plain(text).get("flow"), "flow", _FLOW)
    encoder = flow.part("encoder", _ENCODER)
    solver = flow.part("decoder", _SOLVER)
    dit = solver.part("estimator", _DIT)
    # Defaults are those of the classes, where they have any.
    config = FlowConfig(
        vocab=flow.whole("vocab_size", 5121),
        input_size=flow.whole("input_size", 512),
        mels=flow.whole("output_size", 80),
        speaker=flow.whole("spk_embed_dim", 192),
        guidance=solver.number("inference_cfg_rate", 0.7),
        encoder=_encoder(encoder),
        dit=DitConfig(
            inputs=dit.whole("in_channels", 320),
            mels=dit.whole("out_channels", 80),
            hidden=dit.whole("hidden_size", 256),
            depth=dit.whole("depth", 28),
            heads=dit.whole("num_heads", 8),
            head_dim=dit.whole("head_dim", 64),
            mlp_ratio=dit.number("mlp_ratio", 4.0),
        ),
    )
    for arguments in (flow, encoder, solver, dit):
        arguments.done()
    if config.encoder.input_size != config.input_size:
        raise ValueError("flow.yaml: flow.input_size and flow.encoder.input_size differ")
    if (config.dit.mels, config.dit.inputs) != (config.mels, 4 * config.mels):
        raise ValueError("flow.yaml: the estimator does not fit the mel's size")
    return config


def _encoder(arguments: _Arguments) -> EncoderConfig:
    rate = arguments.whole("up_stride", 2)
    if arguments.number("up_scale_factor", 2) != rate:
        raise ValueError("flow.yaml: flow.encoder.up_scale_factor and up_stride differ")
    config = EncoderConfig(
        input_size=arguments.whole("input_size", 512),
        size=arguments.whole("output_size", 256),
        heads=arguments.whole("attention_heads", 4),
        feed_forward=arguments.whole("linear_units", 2048),
        blocks=arguments.whole("num_blocks", 6),
        up_blocks=arguments.whole("num_up_blocks", 4),
        lookahead=arguments.whole("pre_lookahead_len", 3),
        up_rate=rate,
        key_bias=arguments.flag("key_bias", True),
    )
    if config.size % config.heads or config.input_size != config.size:
        # up_embed maps input_size to size, but is fed frames of size
        raise ValueError("flow.yaml: flow.encoder's sizes do not fit together")
    return config
