"""The Hugging Face brain on a tiny random Qwen2 that the test writes."""

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from engine.brain.chat_format import CHATML
from engine.brain.hf import HuggingFaceBrain, format_from_template
from engine.brain.interface import BrainError
from engine.errors import EngineError
from engine.types import Finished, GenerationOptions, Message, Tool

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TALK = [Message("system", "Be brief."), Message("user", "How are you?")]
OPTIONS = GenerationOptions(max_tokens=12, repetition_penalty=1.0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=TEMPLATE
    )
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        initializer_range=0.3,
        eos_token_id=257,
        bos_token_id=None,
    )
    transformers.Qwen2ForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def brain(checkpoint: Path) -> Iterator[HuggingFaceBrain]:
    brain = HuggingFaceBrain(checkpoint, threads=1)
    yield brain
    brain.close()


async def answer(session, messages: list[Message], pieces: int = 1000) -> str:  # type: ignore[no-untyped-def]
    text = ""
    async with aclosing(session.generate(messages, OPTIONS)) as stream:
        async for piece in stream:
            if isinstance(piece, Finished) or pieces == 0:
                break
            text += piece
            pieces -= 1
    return text


async def test_greedy_equals_transformers(brain: HuggingFaceBrain, checkpoint: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    prompt = tokenizer.apply_chat_template(
        [{"role": message.role, "content": message.text} for message in TALK],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = model.generate(**prompt, max_new_tokens=12, do_sample=False, pad_token_id=257)
    expected = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    session = brain.open()
    await session.prefill(TALK[:1], "How a")
    assert await answer(session, TALK) == expected
    assert expected
    await session.close()


async def test_after_cuts_the_scores_are_those_of_a_fresh_session(
    brain: HuggingFaceBrain,
) -> None:
    session = brain.open()
    await session.prefill(TALK[:1], "Something quite different")
    await answer(session, [*TALK, Message("user", "never mind")], pieces=3)
    await answer(session, TALK, pieces=5)
    cut = [*TALK, Message("assistant", "Fi"), Message("user", "Why?")]
    fresh = brain.open()
    assert await answer(session, cut) == await answer(fresh, cut)
    used_log, fresh_log = session._log, fresh._log
    assert list(used_log.tokens) == list(fresh_log.tokens)
    np.testing.assert_allclose(used_log.logits(), fresh_log.logits(), rtol=1e-4, atol=1e-4)
    used_log.truncate(0)
    used_log.append([1, 2, 3])
    fresh_log.truncate(2)
    with pytest.raises(ValueError, match="cannot cut"):
        fresh_log.truncate(3)
    await session.close()
    await fresh.close()


async def test_a_step_that_fails_in_one_layer_leaves_no_trace(
    brain: HuggingFaceBrain,
) -> None:
    session = brain.open()
    await session.prefill(TALK[:1])

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    hook = brain._model.model.layers[1].register_forward_pre_hook(fail)
    try:
        with pytest.raises(BrainError, match="model failed"):
            await session.prefill(TALK)
    finally:
        hook.remove()
    fresh = brain.open()
    assert await answer(session, TALK) == await answer(fresh, TALK)
    np.testing.assert_allclose(session._log.logits(), fresh._log.logits(), rtol=1e-4, atol=1e-4)
    await session.close()
    await fresh.close()


async def test_a_template_without_tools_refuses_them(brain: HuggingFaceBrain) -> None:
    session = brain.open()
    with pytest.raises(EngineError, match="no way to call functions"):
        await answer(session, [Message("system", "", tools=(Tool("f"),)), TALK[1]])
    assert await answer(session, TALK)
    await session.close()


def test_the_context_is_no_longer_than_the_models(checkpoint: Path) -> None:
    brain = HuggingFaceBrain(checkpoint, threads=1, context_tokens=4096)
    assert brain.context_tokens == 512
    brain.close()


def chatml(messages: list[dict[str, str]], prompt: bool) -> str:
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return text + ("<|im_start|>assistant\n" if prompt else "")


def llama3(messages: list[dict[str, str]], prompt: bool) -> str:
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    text = "<|bos|>" + "".join(head.format(m["role"]) + m["content"] + "<|eot|>" for m in messages)
    return text + (head.format("assistant") if prompt else "")


def numbered(messages: list[dict[str, str]], prompt: bool) -> str:
    return "".join(f"[{i}] {m['role']}: {m['content']}\n" for i, m in enumerate(messages)) + (
        "assistant: " if prompt else ""
    )


def without_system(messages: list[dict[str, str]], prompt: bool) -> str:
    if messages[0]["role"] == "system":
        raise RuntimeError("System role not supported")
    return chatml(messages, prompt)


def test_chat_templates() -> None:
    assert format_from_template(chatml, stop=CHATML.stop, start="") == replace(CHATML, tools=None)
    read = format_from_template(llama3, stop=("<|eot|>",), start="<|bos|>")
    assert read.start == "<|bos|>"
    assert read.opening["user"] == "<|start_header_id|>user<|end_header_id|>\n\n"
    assert read.closing["assistant"] == "<|eot|>"
    with pytest.raises(ValueError, match="does more than"):
        format_from_template(numbered, stop=("\n",), start="")
    with pytest.raises(ValueError, match="System role not supported"):
        format_from_template(without_system, stop=CHATML.stop, start="")
