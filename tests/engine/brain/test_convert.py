"""Conversion and the onnxruntime log, on a tiny random GGUF against transformers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers

from engine.brain.chat_format import CHATML, Renderer
from engine.brain.convert import convert, quantize, unpack_q5_0, unpack_q8_0
from engine.brain.local_brain import LocalBrain
from engine.brain.onnx_log import OnnxModel, OnnxTokenLog, load_model
from engine.types import Finished, GenerationOptions, Message

gguf = pytest.importorskip("gguf")

HIDDEN, FFN, HEADS, KV_HEADS, LAYERS, CONTEXT = 64, 96, 4, 2, 2, 48
SYMBOLS = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "Ġt"]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = len(SYMBOLS) + len(CONTROL)

Weights = dict[str, np.ndarray]


def write_gguf(path: Path, *, architecture: str = "qwen2", tied: bool = False) -> Weights:
    """A random model; returns its weights as the file holds them, after quantisation."""
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e4)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*SYMBOLS, *CONTROL])
    writer.add_token_types([1] * len(SYMBOLS) + [3] * len(CONTROL))
    writer.add_token_merges(["h e", "Ġ t"])
    held: Weights = {}

    def add(name: str, shape: tuple[int, ...], kind: str) -> None:
        values = random.normal(0, 0.25, shape).astype(np.float32)
        if kind == "F32":
            values = values + 1 if "norm" in name else values
            writer.add_tensor(name, values)
        else:
            quantisation = gguf.GGMLQuantizationType[kind]
            data = gguf.quantize(values, quantisation)
            values = gguf.dequantize(data, quantisation)
            writer.add_tensor(name, data, raw_dtype=quantisation)
        held[name] = values

    add("token_embd.weight", (VOCABULARY, HIDDEN), "Q5_0")
    if not tied:
        add("output.weight", (VOCABULARY, HIDDEN), "Q8_0")
    add("output_norm.weight", (HIDDEN,), "F32")
    narrow = HIDDEN // HEADS * KV_HEADS
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        for name in ("attn_norm", "ffn_norm"):
            add(f"{at}{name}.weight", (HIDDEN,), "F32")
        for name, rows, kind in (
            ("q", HIDDEN, "Q5_0"),
            ("k", narrow, "Q8_0"),
            ("v", narrow, "F16"),
        ):
            add(f"{at}attn_{name}.weight", (rows, HIDDEN), kind)
            add(f"{at}attn_{name}.bias", (rows,), "F32")
        add(f"{at}attn_output.weight", (HIDDEN, HIDDEN), "Q5_0")
        add(f"{at}ffn_gate.weight", (FFN, HIDDEN), "Q5_0")
        add(f"{at}ffn_up.weight", (FFN, HIDDEN), "Q8_0")
        add(f"{at}ffn_down.weight", (HIDDEN, FFN), "Q4_1")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Weights]:
    folder = tmp_path_factory.mktemp("tiny")
    weights = write_gguf(folder / "model.gguf")
    steps: list[tuple[str, float]] = []
    convert(folder / "model.gguf", folder / "out", lambda what, done: steps.append((what, done)))
    assert steps[-1] == ("done", 1.0)
    assert [done for _, done in steps] == sorted(done for _, done in steps)
    assert sorted(path.name for path in folder.iterdir()) == ["model.gguf", "out"]
    return folder / "out", weights


@pytest.fixture(scope="module")
def model(tiny: tuple[Path, Weights]) -> OnnxModel:
    return load_model(tiny[0], threads=1, context_tokens=CONTEXT)


def poisoned(model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> OnnxTokenLog:
    """A log whose fresh memory is NaN: what is read before it is written shows."""
    with monkeypatch.context() as patch:
        patch.setattr(np, "zeros", lambda shape, dtype: np.full(shape, np.nan, dtype))
        return OnnxTokenLog(model)


def oracle_logits(weights: Weights, tokens: list[int]) -> np.ndarray:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=FFN,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
        rms_norm_eps=1e-6, rope_theta=1e4, tie_word_embeddings=False,
    )  # fmt: skip
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }  # fmt: skip
    top = {"token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm"}
    state = {}
    for key, values in weights.items():
        name, kind = key.rsplit(".", 1)
        if name.startswith("blk."):
            _, layer, part = name.split(".")
            name = f"model.layers.{layer}.{names[part]}"
        else:
            name = top[name]
        state[f"{name}.{kind}"] = torch.from_numpy(np.array(values, np.float32))
    network = transformers.Qwen2ForCausalLM(config)
    network.load_state_dict(state)
    with torch.inference_mode():
        return network(torch.tensor([tokens])).logits[0, -1].numpy()


def test_scores_equal_transformers(
    tiny: tuple[Path, Weights], model: OnnxModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = poisoned(model, monkeypatch)
    tokens = [3, 250, 7, 7, 100, 31, 42, 5, 200, 201, 12]
    for start in range(0, len(tokens), 3):
        log.append(tokens[start : start + 3])
        expected = oracle_logits(tiny[1], tokens[: start + 3])
        # activations are rounded to 8 bits on the way; the weights are not touched
        error = np.abs(log.logits() - expected).max() / np.abs(expected).max()
        assert error < 0.08
        assert np.corrcoef(log.logits(), expected)[0, 1] > 0.999


moves = st.lists(
    st.one_of(
        st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=7),
        st.floats(0, 1),  # cut to this share
    ),
    max_size=8,
)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves, st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=5))
def test_a_cut_log_equals_one_that_never_saw_what_was_cut(
    model: OnnxModel,
    monkeypatch: pytest.MonkeyPatch,
    moves: list[list[int] | float],
    tail: list[int],
) -> None:
    log = poisoned(model, monkeypatch)
    for move in moves:
        if isinstance(move, float):
            log.truncate(int(move * len(log.tokens)))
        elif len(log.tokens) + len(move) <= CONTEXT - len(tail):
            log.append(move)
    log.append(tail)
    fresh = poisoned(model, monkeypatch)
    fresh.append(list(log.tokens))
    scale = np.abs(fresh.logits()).max()
    np.testing.assert_allclose(log.logits(), fresh.logits(), atol=5e-2 * scale)


def test_scores_after_a_cut_without_an_append(model: OnnxModel) -> None:
    log, fresh = OnnxTokenLog(model), OnnxTokenLog(model)
    log.append([1, 2, 3, 4, 5])
    log.truncate(3)
    fresh.append([1, 2, 3])
    np.testing.assert_allclose(log.logits(), fresh.logits(), atol=1e-3)
    assert list(log.tokens) == [1, 2, 3]


def test_limits_of_a_log(model: OnnxModel) -> None:
    log = OnnxTokenLog(model)
    with pytest.raises(ValueError, match="empty"):
        log.logits()
    with pytest.raises(ValueError, match="cannot append 49"):
        log.append([1] * (CONTEXT + 1))
    log.append([1] * CONTEXT)
    with pytest.raises(ValueError, match="cannot append"):
        log.append([1])
    with pytest.raises(ValueError, match="cannot cut"):
        log.truncate(CONTEXT + 1)
    assert len(log.tokens) == CONTEXT


def test_simple_formats_lose_nothing() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(6, 96)).astype(np.float32)
    for kind, unpack in (("Q8_0", unpack_q8_0), ("Q5_0", unpack_q5_0)):
        data = gguf.quantize(values, gguf.GGMLQuantizationType[kind])
        blocks = unpack(data, 96)
        back = (blocks.values.astype(np.float32) - 128) * blocks.scales[..., None]
        expected = gguf.dequantize(data, gguf.GGMLQuantizationType[kind])
        np.testing.assert_array_equal(back.reshape(6, 96), expected)


def test_rounding_is_to_the_nearest_of_255_steps() -> None:
    values = np.random.default_rng(2).normal(size=(4, 64)).astype(np.float32)
    values[1, :32] = 0
    blocks = quantize(values)
    back = ((blocks.values.astype(np.float32) - 128) * blocks.scales[..., None]).reshape(4, 64)
    limit = np.repeat(np.abs(values.reshape(4, 2, 32)).max(-1), 32, axis=-1) / 254
    assert (np.abs(back - values) <= limit * 1.001).all()


def test_the_tokenizer(tiny: tuple[Path, Weights]) -> None:
    tokenizer = Tokenizer.from_file(str(tiny[0] / "tokenizer.json"))
    encoded = tokenizer.encode("<|im_start|>he's there")
    assert encoded.tokens == ["<|im_start|>", "he", "'", "s", "Ġt", "he", "r", "e"]
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == "<|im_start|>he's there"
    assert tokenizer.encode("e\u0301").ids == tokenizer.encode("\u00e9").ids  # composed
    assert Renderer(tokenizer, CHATML).stop_ids == {VOCABULARY - 3, VOCABULARY - 1}


async def test_the_brain_talks(tiny: tuple[Path, Weights]) -> None:
    brain = LocalBrain(tiny[0], threads=1, context_tokens=CONTEXT)
    session = brain.open()
    options = GenerationOptions(max_tokens=5, temperature=1.0, top_p=0.9)
    *_, end = [piece async for piece in session.generate([Message("user", "hi")], options)]
    assert isinstance(end, Finished)
    assert end.input_tokens > 5
    await session.close()
    brain.close()


def test_a_tied_model_uses_its_embedding_as_head(tmp_path: Path) -> None:
    weights = write_gguf(tmp_path / "model.gguf", tied=True)
    convert(tmp_path / "model.gguf", tmp_path / "out", lambda *_: None)
    log = OnnxTokenLog(load_model(tmp_path / "out", threads=1, context_tokens=8))
    log.append([4, 5])
    expected = oracle_logits({**weights, "output.weight": weights["token_embd.weight"]}, [4, 5])
    assert np.abs(log.logits() - expected).max() < 0.08 * np.abs(expected).max()


def test_a_context_longer_than_was_converted_for(tiny: tuple[Path, Weights]) -> None:
    with pytest.raises(ValueError, match="at most 8192"):
        load_model(tiny[0], threads=1, context_tokens=8193)


def test_another_architecture_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", architecture="llama")
    with pytest.raises(ValueError, match="'llama' model; only qwen2"):
        convert(tmp_path / "model.gguf", tmp_path / "out", lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
