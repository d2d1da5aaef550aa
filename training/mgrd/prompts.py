"""Prompts and answers as ids, in Step-Audio's chat format.

The question is the system's message and the sound the caller's, as in a call whose session has the
question as its instructions.
"""

from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from transformers import Qwen2ForCausalLM

from engine.brain.chat_format import Renderer
from engine.native.model.tokens import STEP_CHAT
from engine.text.thought_filter import THINK_CLOSE, THINK_OPEN
from engine.types import Message
from training.mgrd.hearing import latent_ids
from training.mgrd.tasks import Question
from training.mgrd.tokens import STOP, id_of


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and what is to be answered, as ids."""

    prompt: list[int]
    answer: list[int]


class Writer:
    """Writes the prompts of one model."""

    def __init__(self, tokenizer: Tokenizer, model: Qwen2ForCausalLM) -> None:
        self._renderer = Renderer(Tokenizer.from_str(tokenizer.to_str()), STEP_CHAT)
        self._model = model
        self._open, self._close = (id_of(tokenizer, f"<audio_{w}>") for w in ("start", "end"))
        self.stop = id_of(tokenizer, STOP)

    def prompt(self, question: Question) -> list[int]:
        """The prompt up to the opened think block."""
        embedding: Any = self._model.get_input_embeddings()
        latents = latent_ids(self._model, embedding.sounds.add(question.frames))
        return [
            *self._renderer.message(Message("system", question.text)),
            *self._renderer.opening["user"],
            self._open,
            *latents,
            self._close,
            *self._renderer.closing["user"],
            *self._renderer.opening["assistant"],
            *self._renderer.plain(f"{THINK_OPEN}\n"),
        ]

    def answer(self, thought: str, answer: str) -> list[int]:
        """What follows: the rest of the think block, maybe empty, the answer and its end."""
        rest = f"{thought}\n{THINK_CLOSE}\n{answer}"
        return [*self._renderer.plain(rest), self.stop]

    def plain(self, text: str) -> list[int]:
        """Ids of a text."""
        return self._renderer.plain(text)
