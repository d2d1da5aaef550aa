"""Latents as token ids: what the trained model hears is what the native engine makes of a clip."""

import copy
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from engine.native.model.adaptor import Adaptor
from engine.native.model.config import ADAPTOR_HIDDEN, AdaptorShape
from training.mgrd import tokens
from training.mgrd.hearing import HearingAdaptor, SoundTable, hearing_model, latent_ids

pytestmark = pytest.mark.torch
STATE, HIDDEN, VOCABULARY = 12, 16, 40


def clip(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, STATE)).astype(np.float16)


def small(sounds: SoundTable) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    shape = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=False,
    )
    return hearing_model(shape, sounds).eval()


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 9])
def test_ids_of_a_clip_embed_as_the_engines_adaptor_does(frames: int) -> None:
    sounds = SoundTable(STATE)
    model = small(sounds)
    adaptor: HearingAdaptor = model.model.embed_tokens.adapter
    adaptor.standardise(torch.from_numpy(3 * clip(50, seed=3) + 2))
    engines = Adaptor(AdaptorShape(STATE, ADAPTOR_HIDDEN, HIDDEN))
    for key, to in engines.destinations().items():
        to.copy_(adaptor.plain()[key])
    sounds.add(clip(5, seed=1))  # neighbours must not be heard
    heard = clip(frames)
    ids = latent_ids(model, sounds.add(heard))
    sounds.add(clip(4, seed=2))
    with torch.inference_mode():
        rows = model.model.embed_tokens(torch.tensor([ids, ids]))
        theirs = engines.forward(
            torch.from_numpy(heard).float()[None], left_edge=True, right_edge=True
        )
    assert rows.shape == (2, (frames + 1) // 2, HIDDEN)
    torch.testing.assert_close(rows[0], theirs[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rows[1], theirs[0], atol=1e-4, rtol=1e-4)


def test_text_is_embedded_as_ever_and_latents_are_learnt_from() -> None:
    sounds = SoundTable(STATE)
    model = small(sounds).train()
    ids = torch.tensor([[1, 2, *latent_ids(model, sounds.add(clip(6))), 3]])
    rows = model.model.embed_tokens(ids)
    torch.testing.assert_close(rows[0, 1], model.model.embed_tokens.weight[2])
    model(input_ids=ids).logits.sum().backward()
    assert model.model.embed_tokens.adapter.linear1.weight.grad.abs().sum() > 0


def test_the_model_cannot_emit_a_latent_and_a_copy_shares_the_sounds() -> None:
    sounds = SoundTable(STATE)
    model = small(sounds)
    ids = latent_ids(model, sounds.add(clip(6)))
    assert min(ids) >= VOCABULARY
    assert model(input_ids=torch.tensor([ids])).logits.shape[-1] == VOCABULARY
    assert copy.deepcopy(model).model.embed_tokens.sounds is sounds
    assert sounds.add(clip(6)) == sounds.add(clip(6))  # a clip is held once


@pytest.fixture(scope="module")
def text() -> Tokenizer:
    return tokens.build(tokens.closed_vocabulary())


def test_words_of_the_tasks_are_tokens_and_all_else_is_bytes(text: Tokenizer) -> None:
    known = "<think>\npitch 203 hz then pitch 391 hz so rising\n</think>\nrising"
    encoded = text.encode(known)
    assert text.decode(encoded.ids) == known
    assert len(text.encode("What does the pitch of the tone do?").ids) == 9
    assert text.encode("\n\n").ids == 2 * text.encode("\n").ids  # as the engine joins blocks
    strange = "Zwölf Boxkämpfer, 3.7 %"
    assert text.decode(text.encode(strange).ids) == strange


def test_a_prompt_is_its_ids_in_decimal(text: Tokenizer) -> None:
    tokenizer = tokens.for_trainers(text)
    ids = [5, 100_000, 7]
    assert tokenizer(tokens.written(ids))["input_ids"] == ids
    both = tokens.written(ids) + tokens.written([9])
    assert tokenizer(text=[both])["input_ids"] == [[*ids, 9]]


@pytest.mark.skipif(find_spec("peft") is None, reason="the extra `train` is not installed")
def test_low_rank_updates_are_trained_and_merge_into_plain_weights() -> None:
    from training.mgrd.lora import add_lora, merged

    sounds = SoundTable(STATE)
    ids = torch.tensor([[1, 2, 3]])
    plain, updated = small(sounds), small(sounds)
    add_lora(updated, 2)
    trained = {name for name, weight in updated.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or "adapter" in name for name in trained)
    assert any("adapter" in name for name in trained)
    with torch.no_grad():
        for name, weight in updated.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
        wanted = updated(input_ids=ids).logits
        assert not torch.allclose(wanted, plain(input_ids=ids).logits)
        plain.load_state_dict(merged(updated))
        torch.testing.assert_close(plain(input_ids=ids).logits, wanted)
        torch.testing.assert_close(updated(input_ids=ids).logits, wanted)  # as it was
