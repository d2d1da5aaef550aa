"""Words that stand ready in place of a brain's: where it was not asked, or has nothing to say."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from duplex.dialogue.call import CallContext
from duplex.dialogue.speech_pipeline import AnswerSource
from duplex.protocol.response_plan import ResponsePlan
from engine.types import Finished, GenerationOptions, Message, Piece, Speech, Thought


class FixedWords:
    """An `AnswerSource` that always says the same."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Say it."""
        yield Speech(self._text)
        yield Finished("stop", 0, 0, 0)


class OrElse:
    """An `AnswerSource` that says ``text`` if another one ends without a word or a call: when its
    answer is empty, blank, or only thoughts."""

    def __init__(self, source: AnswerSource, text: str) -> None:
        self._source = source
        self._text = text

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Pass on what the other says. Blank text waits for the first word."""
        is_answer, blank = False, ""
        async with aclosing(self._source.respond(history, options)) as pieces:
            async for piece in pieces:
                if is_answer or isinstance(piece, Thought):
                    yield piece
                elif isinstance(piece, Speech) and not (piece.codes or piece.text.strip()):
                    blank += piece.text
                elif isinstance(piece, Finished):
                    yield Speech(self._text)
                    yield piece
                else:
                    is_answer = True
                    if blank and isinstance(piece, Speech):
                        yield Speech(blank)
                    yield piece


def or_else(call: CallContext, plan: ResponsePlan, source: AnswerSource) -> AnswerSource:
    """``source``, with the sentence after it that stands for no answer at all, if there is one."""
    own = call.session_config.duplex.no_answer
    text = call.config.dialogue.no_answer if own is None else own
    return OrElse(source, text) if text and plan.in_conversation and call.can_say(plan) else source
