"""The tokenizer of a Step-Audio checkpoint and the ids that its model was trained with.

Ids are looked up by name. For the published vocabulary they must also be those that the published
servers have written into their code, so that a damaged or foreign tokenizer is found at once.
"""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from engine.brain.chat_format import ChatFormat
from engine.brain.gguf_tokenizer import build_tokenizer
from engine.native.model.config import STEP_VOCABULARY

logger = logging.getLogger(__name__)

STEP_CHAT = ChatFormat(
    opening={
        "system": "<|BOT|>system\n",
        "user": "<|BOT|>human\n",
        "assistant": "<|BOT|>assistant\n",
    },
    closing={"system": "<|EOT|>", "user": "<|EOT|>", "assistant": "<|EOT|>"},
    stop=("<|EOT|>", "<|endoftext|>", "<|im_end|>"),
)

_NAMES = {
    "end_of_text": "<|endoftext|>",
    "im_end": "<|im_end|>",
    "end_of_turn": "<|EOT|>",
    "begin_of_turn": "<|BOT|>",
    "tool_call_start": "<tool_call>",
    "tool_call_end": "</tool_call>",
    "audio_start": "<audio_start>",
    "audio_end": "<audio_end>",
    "audio_patch": "<audio_patch>",
    "tts_start": "<tts_start>",
    "tts_end": "<tts_end>",
    "tts_pad": "<tts_pad>",
    "first_audio": "<audio_0>",
    "audio_pad": "<audio_6561>",
}
# What published code pins by number. The others, <|BOT|> among them, follow from the order of the
# list of special tokens only, so that a difference there is reported and not refused.
_PINNED = {
    "<|endoftext|>": 151643,
    "<|im_end|>": 151645,
    "<tool_call>": 151657,
    "</tool_call>": 151658,
    "<|EOT|>": 151665,
    "<audio_start>": 151688,
    "<audio_end>": 151689,
    "<audio_patch>": 151690,
    "<tts_start>": 151693,
    "<tts_end>": 151694,
    "<tts_pad>": 151695,
    "<audio_0>": 151696,
    "<audio_6561>": 158257,
}
_INFERRED = {"<|BOT|>": 151666}
_NOT_SPECIAL = frozenset({"<tool_call>", "</tool_call>"})  # shown in decoded text, as in Qwen2.5
_is_control_token = re.compile(r"<\|.+\|>|</?(?:audio|tts)_.+>").fullmatch
_USER_DEFINED, _CONTROL, _NORMAL = 4, 3, 1  # token types, by GGUF's numbers


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids of the tokens that are more than text. ``<think>`` is none: it is plain text.

    ``first_audio`` is ``<audio_0>``; the code of an audio token is its id less that one's, and
    codes end before ``audio_pad``, which pads audio and ends speech.
    """

    end_of_text: int
    im_end: int
    end_of_turn: int
    begin_of_turn: int
    tool_call_start: int
    tool_call_end: int
    audio_start: int
    audio_end: int
    audio_patch: int
    tts_start: int
    tts_end: int
    tts_pad: int
    first_audio: int
    audio_pad: int

    @classmethod
    def resolve(cls, tokenizer: Tokenizer, vocab: int) -> "SpecialTokens":
        """Look the names up; ``vocab`` is the number of rows of the model's embedding.

        With the published number of rows, or more, the ids are held against the published ones.

        Raises:
            ValueError: a token is unknown, lies outside the embedding or has another id than the
                published servers use; the message names it.
        """
        ids = {field: _find(tokenizer, token, vocab) for field, token in _NAMES.items()}
        if vocab >= STEP_VOCABULARY:
            _hold_against_table({token: ids[field] for field, token in _NAMES.items()})
        return cls(**ids)

    @property
    def stop(self) -> frozenset[int]:
        """What ends an answer in text."""
        return frozenset({self.end_of_turn, self.end_of_text, self.im_end})

    @property
    def audio_codes(self) -> int:
        """Size of the codebook: 6561 in published checkpoints."""
        return self.audio_pad - self.first_audio


def _find(tokenizer: Tokenizer, token: str, vocab: int) -> int:
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the tokenizer does not know {token}: not a Step-Audio checkpoint's")
    if found >= vocab:
        raise ValueError(f"{token} has id {found}, but the embedding has {vocab} rows")
    return found


def _hold_against_table(found: dict[str, int]) -> None:
    for token, expected in _PINNED.items():
        if found[token] != expected:
            raise ValueError(
                f"{token} must have id {expected}, but the tokenizer says {found[token]}"
            )
    for token, expected in _INFERRED.items():
        if found[token] != expected:
            logger.warning("%s has id %d; %d was expected", token, found[token], expected)


def load_tokenizer(directory: Path) -> Tokenizer:
    """The checkpoint's tokenizer: tokenizer.json, else vocab.json, merges.txt, added_tokens.json.

    tokenizer.json is taken as it is, with Qwen2's way of splitting text: the Mistral split that
    transformers offers to put in its place is not what this model was trained with.

    Raises:
        ValueError: the files are missing or damaged; the message names one.
    """
    path = directory / "tokenizer.json"
    if not path.is_file():
        return _from_parts(directory)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{path} is no tokenizer: {error}") from error
    _protect(tokenizer)
    return tokenizer


def _protect(tokenizer: Tokenizer) -> None:
    """Make every control token special, so that nobody can type it: text of callers and of tools
    is encoded with `encode_special_tokens`, which spares only tokens that are called special."""
    added = tokenizer.get_added_tokens_decoder().values()
    typed = [
        token.content for token in added if not token.special and _is_control_token(token.content)
    ]
    tokenizer.add_special_tokens([t for t in typed if t not in _NOT_SPECIAL])


def _from_parts(directory: Path) -> Tokenizer:
    vocabulary = _read_ids(directory / "vocab.json")
    added = _read_ids(directory / "added_tokens.json")
    by_id = {i: token for token, i in {**vocabulary, **added}.items()}
    if sorted(by_id) != list(range(len(by_id))):
        raise ValueError(f"{directory}: the ids of vocab.json and added_tokens.json leave gaps")
    tokens = [by_id[i] for i in range(len(by_id))]
    lines = _read_text(directory / "merges.txt").split("\n")
    merges = [line for line in lines if line.strip() and not line.startswith("#version")]
    fields: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [_kind(token, added) for token in tokens],
        "tokenizer.ggml.merges": merges,
    }
    try:
        return build_tokenizer(fields.__getitem__)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{directory / 'merges.txt'} does not fit vocab.json: {error}") from error


def _kind(token: str, added: dict[str, int]) -> int:
    if token not in added:
        return _NORMAL
    return _USER_DEFINED if token in _NOT_SPECIAL else _CONTROL


def _read_ids(path: Path) -> dict[str, int]:
    try:
        ids = json.loads(_read_text(path))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(ids, dict) or not all(isinstance(i, int) for i in ids.values()):
        raise ValueError(f"{path} does not map tokens to ids")
    return ids


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path.parent} has neither tokenizer.json nor {path.name}")
    return path.read_text(encoding="utf-8")
