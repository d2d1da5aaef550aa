"""The byte-level BPE tokenizer of a Qwen2 GGUF, as a Hugging Face `tokenizers` object."""

from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

# llama.cpp's pre-tokenizer "qwen2" and Qwen2's own tokenizer.json agree on this split.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CONTROL, _USER_DEFINED = 3, 4  # GGUF token types


def build_tokenizer(get: Callable[[str], Any]) -> Tokenizer:
    """Build the tokenizer; ``get`` looks up a GGUF metadata value by key.

    Raises:
        ValueError: the GGUF holds another kind of tokenizer.
    """
    kind = (get("tokenizer.ggml.model"), get("tokenizer.ggml.pre"))
    if kind != ("gpt2", "qwen2"):
        raise ValueError(f"tokenizer {kind} is not the byte-level BPE of Qwen2")
    tokens: list[str] = get("tokenizer.ggml.tokens")
    types: list[int] = get("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in get("tokenizer.ggml.merges")]
    added = [i for i, kind in enumerate(types) if kind in (_CONTROL, _USER_DEFINED)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(
        [AddedToken(tokens[i], normalized=False, special=types[i] == _CONTROL) for i in added]
    )
    return tokenizer
