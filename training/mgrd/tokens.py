"""The closed vocabulary: every word of the tasks is one token, and all else is bytes.

The tokenizer has the names that a Step-Audio checkpoint's has, so `engine.native` takes it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import BatchEncoding, PreTrainedTokenizerFast

from client.evaluation.sets import sounds
from client.evaluation.sets.sounds import COUNT_WORDS, SENTENCES, STATEMENTS
from engine.text.thought_filter import THINK_CLOSE, THINK_OPEN
from training.mgrd import thoughts

# The special tokens of Step-Audio's tokenizer that are more than audio codes, in their order.
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>",
    "<|EOT|>", "<|BOT|>", "<|CALL_START|>", "<|CALL_END|>", "<|THINK_START|>", "<|THINK_END|>",
    "<audio_start>", "<audio_end>", "<audio_patch>", "<audio_patch_pad>", "<|SC|>",
    "<tts_start>", "<tts_end>", "<tts_pad>", "<audio_0>", "<audio_6561>",
)  # fmt: skip
_NOT_SPECIAL = ("<tool_call>", "</tool_call>")
STOP, PAD = "<|EOT|>", "<|endoftext|>"
_WORD = r"</?think>|\n| ?\p{L}+| ?-?\d+(?:\.\d+)?| ?[^\s\p{L}\d]|\s"
_PROTECTED = re.compile(r"</?think>|\n| ?[^\W\d_]+| ?-?\d+(?:\.\d+)?| ?[^\s\w]")
_SAMPLED = 60  # questions of each kind that are looked through for words


def closed_vocabulary() -> list[str]:
    """Every word that a question, a thought or an answer may have, with its leading space."""
    found = {THINK_OPEN, THINK_CLOSE, "\n", *_words(["system", "human", "assistant"])}
    said = [*SENTENCES, *STATEMENTS, *COUNT_WORDS, thoughts.CANNOT_HEAR]
    for kind in (*sounds.KINDS, "agreement"):
        for number in range(_SAMPLED):
            draft = sounds.draft(kind, 0, number)
            answer = draft.gold["answer"]
            answer = " ".join(answer) if isinstance(answer, list) else str(answer)
            said += [answer, draft.words, thoughts.surrogate(draft.words, answer)]
            said += [thoughts.grounded(draft.measured, answer)]
            found |= _words([draft.question])
    said += thoughts.grid()
    said += [str(number) for number in range(20)]
    for text in said:
        found |= _words([thoughts.plain_words(text), text, f" {text}"])
    return sorted(found)


def build(words: Sequence[str]) -> Tokenizer:
    """A byte-level tokenizer in which each of ``words`` is one token."""
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    vocabulary = {letter: number for number, letter in enumerate(_bytes())}
    for word in words:
        ((written, _),) = in_bytes.pre_tokenize_str(word)
        vocabulary.setdefault(written, len(vocabulary))
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    split = pre_tokenizers.Split(Regex(_WORD), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, in_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    add_special(tokenizer)
    return tokenizer


def add_special(tokenizer: Tokenizer) -> None:
    """Give a tokenizer those of Step-Audio's special tokens that it lacks, behind its own."""
    tokenizer.add_tokens(
        [AddedToken(t, special=t not in _NOT_SPECIAL, normalized=False) for t in SPECIAL]
    )


class IdTokenizer(PreTrainedTokenizerFast):
    """For TRL's trainers, which tokenise prompts: a prompt is written as its ids, in decimal, for
    the ids of latents stand for no text. Ids are decoded to text as ever."""

    def __call__(self, text: Any = None, **_: Any) -> BatchEncoding:
        rows = [text] if isinstance(text, str) else text
        ids = [[self._id(word) for word in row.split()] for row in rows]
        mask = [[1] * len(row) for row in ids]
        if isinstance(text, str):
            return BatchEncoding({"input_ids": ids[0], "attention_mask": mask[0]})
        return BatchEncoding({"input_ids": ids, "attention_mask": mask})

    def _id(self, word: str) -> int:
        """A number, or the token that TRL ends answers with."""
        return int(word) if word.isdigit() else id_of(self.backend_tokenizer, word)


def id_of(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token.

    Raises:
        ValueError: there is no such token.
    """
    id_: int | None = tokenizer.token_to_id(token)
    if id_ is None:
        raise ValueError(f"the tokenizer has no {token}")
    return id_


def for_trainers(tokenizer: Tokenizer) -> IdTokenizer:
    """The tokenizer as TRL takes it."""
    return IdTokenizer(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=STOP, pad_token=PAD, padding_side="left"
    )


def written(ids: Iterable[int]) -> str:
    """A prompt as `IdTokenizer` reads it. The space at its end lets another follow."""
    return "".join(f"{number} " for number in ids)


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in _PROTECTED.findall(text)}


def _bytes() -> list[str]:
    """The letters that byte-level BPE writes bytes 0 to 255 as (GPT-2's table)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]
