"""A voice small enough to be made on the spot, with the tensors of a Piper graph."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tts.piper import split

CHANNELS = 4
SYMBOLS = "_^$ ,.abcdefghijklmnopqrstuvwxyzəɐˈˌː"
FRAMES_PER_PHONEME = 2.0


def tiny_graph() -> onnx.ModelProto:
    """Phonemes to audio through convolutions that reach as far as Piper's do: 32 frames in the
    flow, 10 in the vocoder. Every phoneme lasts two frames at speed 1."""
    rng = np.random.default_rng(1)
    weights = {
        "embedding": rng.standard_normal((len(SYMBOLS), 2 * CHANNELS)) * 0.3,
        "flow": rng.standard_normal((CHANNELS, CHANNELS, 65)) * 0.1,
        "head": rng.standard_normal((CHANNELS, CHANNELS, 21)) * 0.1,
        "up": rng.standard_normal((CHANNELS, 1, 256)) * 0.2,
        "base": np.array([FRAMES_PER_PHONEME - 0.5]),
        "nothing": np.array([0.0]),
    }
    whole = {"halves": [CHANNELS, CHANNELS], "one": [1], "last": [2]}
    node = helper.make_node
    nodes = [
        node("Gather", ["embedding", split.PHONEMES], ["rows"]),
        node("Transpose", ["rows"], ["stats"], perm=[0, 2, 1]),
        node("Split", ["stats", "halves"], [split.PRIOR_MEAN, split.PRIOR_LOG_DEVIATION], axis=1),
        node("Cast", [split.PHONEMES], ["floats"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["floats", "one"], ["row"]),
        node("Concat", ["row", "row"], ["pair"], axis=1),
        node("RandomNormalLike", ["pair"], [split.DURATION_NOISE]),
        node("ReduceMean", [split.DURATION_NOISE], ["noise"], axes=[1], keepdims=1),
        node("Mul", ["noise", "nothing"], ["no_noise"]),
        node("Add", ["no_noise", "base"], ["flat"]),
        node("Slice", ["scales", "one", "last"], ["length_scale"]),
        node("Mul", ["flat", "length_scale"], ["lengths"]),
        node("Cast", [split.LENGTHS], ["lengths_in"], to=TensorProto.FLOAT),
        node("Mul", ["lengths_in", "nothing"], ["no_lengths"]),
        node("Add", ["lengths", "no_lengths"], ["lengths_out"]),
        node("Ceil", ["lengths_out"], [split.DURATIONS]),
        node("Add", [split.PRIOR_MEAN, split.PRIOR_LOG_DEVIATION], [split.PRIOR_SAMPLE]),
        node("Mul", [split.DURATIONS, "nothing"], ["zeros"]),
        node("Exp", ["zeros"], [split.FRAME_MASK]),
        node("Conv", [split.PRIOR_SAMPLE, "flow"], ["flowed"], pads=[32, 32]),
        node("Mul", ["flowed", split.FRAME_MASK], [split.LATENT]),
        node("Conv", [split.LATENT, "head"], ["hidden"], pads=[10, 10]),
        node("ConvTranspose", ["hidden", "up"], ["wave"], strides=[256]),
        node("Tanh", ["wave"], ["bounded"]),
        node("Unsqueeze", ["bounded", "one"], [split.AUDIO]),
    ]
    graph = helper.make_graph(
        nodes,
        "voice",
        [
            helper.make_tensor_value_info(split.PHONEMES, TensorProto.INT64, [1, "T"]),
            helper.make_tensor_value_info(split.LENGTHS, TensorProto.INT64, [1]),
            helper.make_tensor_value_info(split.SCALES, TensorProto.FLOAT, [3]),
        ],
        [helper.make_tensor_value_info(split.AUDIO, TensorProto.FLOAT, [1, 1, 1, "N"])],
        [
            *(numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()),
            *(numpy_helper.from_array(np.array(w, np.int64), n) for n, w in whole.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    return model


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Piper voice as it is published: one graph and its configuration."""
    path = tmp_path_factory.mktemp("voice") / "tiny.onnx"
    onnx.save(tiny_graph(), path)
    config = {
        "audio": {"sample_rate": 22050},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_id_map": {symbol: [i] for i, symbol in enumerate(SYMBOLS)},
    }
    path.with_name("tiny.onnx.json").write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_voice_dir(tiny_source: Path) -> Path:
    """The same, cut in three."""
    target = tiny_source.parent / "parts"
    split.split(tiny_source, target)
    return target
