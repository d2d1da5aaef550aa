"""The brain on vLLM: the sessions and the two minds of the native engine, on another runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.brain.chat_format import Renderer
from engine.brain.hf import chat_renderer
from engine.native.answer_format import AnswerFormat, thinking_format
from engine.native.brain import NativeBrainSession
from engine.native.minds import Pace
from engine.vllm.async_llm import AsyncLLMClient
from engine.vllm.client import Client
from engine.vllm.runtime import VllmRuntime


class VllmBrain:
    """A model in vLLM, shared by all calls."""

    def __init__(
        self,
        client: Client,
        renderer: Renderer,
        answer_format: AnswerFormat,
        *,
        context_tokens: int,
        sound_marks: tuple[list[int], list[int]] | None = None,
    ) -> None:
        """``sound_marks``: the ids before and after a sound, for a model that hears."""
        self.scheduler = VllmRuntime(client)
        self.renderer = renderer
        self.answer_format = answer_format
        self.context_tokens = context_tokens
        self.sound_marks = sound_marks

    def open(self) -> NativeBrainSession:
        """Start a session with an empty log."""
        return NativeBrainSession(self)

    @property
    def is_alive(self) -> bool:
        """See `engine.types.Mortal`: False once vLLM's engine has died."""
        return self.scheduler.is_alive

    def close(self) -> None:
        """Stop the engine."""
        self.scheduler.close()


def load_brain(
    model: Path, options: Mapping[str, Any], *, context_tokens: int, pace: Pace
) -> VllmBrain:
    """Load the text model in the directory ``model``; ``options`` are vLLM's own.

    Raises:
        ImportError: vLLM is not installed.
        ValueError: the model, its chat template or an option cannot be used.
        OSError: a file is missing.
        RuntimeError: the engine did not start.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    config: Any = AutoConfig.from_pretrained(model)
    try:
        stops: Any = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:
        stops = config.eos_token_id
    renderer = chat_renderer(tokenizer, stops)
    context = min(context_tokens, getattr(config, "max_position_embeddings", context_tokens))
    thinks = "<think>" in str(tokenizer.chat_template or "")
    return VllmBrain(
        AsyncLLMClient(model, context, options),
        renderer,
        thinking_format(renderer, pace, always_thinks=thinks),
        context_tokens=context,
    )
