"""Qwen2 weights from GGUF: a tiny file with every format in use, and the real one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from torch import Tensor

from engine.native.model import gguf_weights
from engine.native.model.checkpoint import CheckpointError
from engine.native.model.config import DecoderShape
from engine.native.model.gguf_weights import GgufModel
from engine.vllm.folder import write_folder

pytestmark = pytest.mark.torch

gguf = pytest.importorskip("gguf")

CONTROL = ["<|endoftext|>", "<|im_end|>"]
SYMBOLS = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "he", *CONTROL]
SHAPE = DecoderShape(
    layers=2, hidden=64, intermediate=96, heads=4, kv_heads=2, head_dim=16, vocab=len(SYMBOLS),
    eps=1e-6, rope_theta=1e4, max_positions=48,
)  # fmt: skip
NAMES = {
    "blk.1.attn_q.weight": ("model.layers.1.self_attn.q_proj.weight", (64, 64), "Q5_0"),
    "blk.1.attn_q.bias": ("model.layers.1.self_attn.q_proj.bias", (64,), "F32"),
    "blk.1.attn_k.weight": ("model.layers.1.self_attn.k_proj.weight", (32, 64), "Q8_0"),
    "blk.1.attn_k.bias": ("model.layers.1.self_attn.k_proj.bias", (32,), "F32"),
    "blk.1.attn_v.weight": ("model.layers.1.self_attn.v_proj.weight", (32, 64), "F16"),
    "blk.1.attn_v.bias": ("model.layers.1.self_attn.v_proj.bias", (32,), "F32"),
    "blk.1.attn_output.weight": ("model.layers.1.self_attn.o_proj.weight", (64, 64), "Q5_0"),
    "blk.1.ffn_gate.weight": ("model.layers.1.mlp.gate_proj.weight", (96, 64), "Q4_0"),
    "blk.1.ffn_up.weight": ("model.layers.1.mlp.up_proj.weight", (96, 64), "Q8_0"),
    "blk.1.ffn_down.weight": ("model.layers.1.mlp.down_proj.weight", (64, 96), "F32"),
    "blk.1.attn_norm.weight": ("model.layers.1.input_layernorm.weight", (64,), "F32"),
    "blk.1.ffn_norm.weight": ("model.layers.1.post_attention_layernorm.weight", (64,), "F32"),
    "output_norm.weight": ("model.norm.weight", (64,), "F32"),
    "token_embd.weight": ("model.embed_tokens.weight", (len(SYMBOLS), 64), "Q8_0"),
    "output.weight": ("lm_head.weight", (len(SYMBOLS), 64), "Q8_0"),
}
FIRST = {
    name.replace("blk.1", "blk.0"): (key.replace("layers.1", "layers.0"), shape, kind)
    for name, (key, shape, kind) in NAMES.items()
    if name.startswith("blk.1")
}


def write_gguf(
    path: Path, *, architecture: str = "qwen2", without: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """A random model; returns what a reader should find, by Hugging Face names."""
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(SHAPE.layers)
    writer.add_embedding_length(SHAPE.hidden)
    writer.add_feed_forward_length(SHAPE.intermediate)
    writer.add_context_length(SHAPE.max_positions)
    writer.add_head_count(SHAPE.heads)
    writer.add_head_count_kv(SHAPE.kv_heads)
    writer.add_layer_norm_rms_eps(SHAPE.eps)
    writer.add_rope_freq_base(SHAPE.rope_theta)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(SYMBOLS)
    writer.add_token_types([1] * 257 + [3, 3])
    writer.add_token_merges(["h e"])
    writer.add_eos_token_id(258)
    writer.add_pad_token_id(257)
    writer.add_chat_template("{{ messages }}")
    held = {}
    for name, (key, shape, kind) in (FIRST | NAMES).items():
        if name in without:
            continue
        values = random.normal(size=shape).astype(np.float32)
        quantisation = gguf.GGMLQuantizationType[kind]
        data = gguf.quantize(values, quantisation)
        writer.add_tensor(name, data, raw_dtype=quantisation)
        held[key] = torch.from_numpy(np.array(gguf.dequantize(data, quantisation), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def poisoned(model: GgufModel, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    shapes = model.config.tensors()
    return {key: torch.full(shape, torch.nan, dtype=dtype) for key, shape in shapes.items()}


@pytest.mark.parametrize("without", [(), ("output.weight",)])
def test_every_tensor_arrives_under_its_hugging_face_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    monkeypatch.setattr(gguf_weights, "_ROWS_AT_ONCE", 40)  # several parts, the last one short
    held = write_gguf(path := tmp_path / "tiny.gguf", without=without)
    model = GgufModel(path)
    destinations = poisoned(model)
    told: list[float] = []
    model.load(destinations, lambda _, share: told.append(share))
    assert destinations.keys() == held.keys()
    assert all(torch.equal(destinations[key], held[key]) for key in held)
    assert told == sorted(told)
    assert told[-1] == 1


def test_shapes_and_stop_ids_come_from_the_metadata(tmp_path: Path) -> None:
    write_gguf(path := tmp_path / "tiny.gguf")
    config = GgufModel(path).config
    assert config.decoder.eps == pytest.approx(SHAPE.eps)
    assert (config.encoder, config.adaptor, config.stop_ids) == (None, None, (258, 257))
    fields = {name: getattr(config.decoder, name) for name in DecoderShape.__slots__}
    expected = {name: getattr(SHAPE, name) for name in DecoderShape.__slots__}
    assert fields | {"eps": SHAPE.eps} == expected


def test_a_file_without_head_has_tied_embeddings(tmp_path: Path) -> None:
    write_gguf(path := tmp_path / "tiny.gguf", without=("output.weight",))
    assert GgufModel(path).config.decoder.tied_embeddings


def test_the_tokenizer_is_the_files(tmp_path: Path) -> None:
    write_gguf(path := tmp_path / "tiny.gguf")
    ids = GgufModel(path).tokenizer().encode("he<|im_end|>").ids
    assert ids == [SYMBOLS.index("he"), SYMBOLS.index("<|im_end|>")]


def test_destinations_may_have_another_dtype(tmp_path: Path) -> None:
    held = write_gguf(path := tmp_path / "tiny.gguf")
    model = GgufModel(path)
    destinations = poisoned(model, torch.bfloat16)
    model.load(destinations, lambda *_: None)
    assert all(torch.equal(destinations[key], held[key].bfloat16()) for key in held)


def test_transformers_reads_the_folder_that_is_written_for_vllm(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    held = write_gguf(path := tmp_path / "tiny.gguf")
    (folder := tmp_path / "folder").mkdir()
    write_folder(path, folder, lambda *_: None)
    read = transformers.AutoModelForCausalLM.from_pretrained(folder)
    weights = read.state_dict()
    assert weights.keys() == held.keys()
    assert all(torch.equal(weights[key], held[key].bfloat16()) for key in held)
    assert read.config.rope_parameters["rope_theta"] == SHAPE.rope_theta
    assert read.generation_config.eos_token_id == [258, 257]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("he<|im_end|>").input_ids == [SYMBOLS.index("he"), 258]
    assert tokenizer.chat_template == "{{ messages }}"


def test_a_missing_tensor_is_named_and_nothing_is_copied(tmp_path: Path) -> None:
    write_gguf(path := tmp_path / "tiny.gguf", without=("blk.1.attn_k.bias",))
    model = GgufModel(path)
    destinations = poisoned(model)
    with pytest.raises(CheckpointError, match=r"1 missing \(model\.layers\.1\..*k_proj\.bias\)"):
        model.load(destinations, lambda *_: None)
    assert all(tensor.isnan().all() for tensor in destinations.values())


@pytest.mark.parametrize(
    ("architecture", "without", "message"),
    [
        ("llama", (), "is a 'llama' model"),
        ("qwen2", ("token_embd.weight",), r"has no token_embd\.weight"),
    ],
)
def test_another_model_is_refused(
    tmp_path: Path, architecture: str, without: tuple[str, ...], message: str
) -> None:
    write_gguf(path := tmp_path / "tiny.gguf", architecture=architecture, without=without)
    with pytest.raises(CheckpointError, match=message):
        GgufModel(path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" * 9, b"GGUF\x03\0\0\0"])
def test_another_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (path := tmp_path / "tiny.gguf").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"tiny\.gguf cannot be read as GGUF"):
        GgufModel(path)
