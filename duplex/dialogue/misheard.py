"""Turns in which somebody spoke and nothing was understood: the caller is told so.

Several in a row are answered in other words each time, and then not any more: on a line that is all
noise, replies would follow each other for ever.

1. The sentences of `not_understood`, one after the other.
2. The brain, once, with a note: it can offer what it was told to, a transfer for one.
3. Nothing, until something is understood. A client that asks for a reply itself always gets one.
"""

from dataclasses import replace

from duplex.dialogue.call import CallContext
from duplex.dialogue.fixed_words import FixedWords
from duplex.dialogue.open_turn import Speculation
from duplex.dialogue.speech_pipeline import AnswerSource
from duplex.protocol.response_plan import ResponsePlan
from duplex.sentences import several

FALLBACK = "duplex_fallback"  # key of a response's metadata: what the response stands in for
NOT_UNDERSTOOD = "not_understood"
_ASK_AGAIN = (
    "The caller has spoken, and nothing of it could be understood. Say so, and ask them in a few "
    "words to say it again."
)
_OFFER_HELP = (
    "The caller has spoken several times, and nothing of it could be understood. Say so in a few "
    "words, and offer what you can do for somebody who is hard to hear."
)


class Misheard:
    """Of one call: how many turns in a row were not understood, and what is said to them."""

    def __init__(self, call: CallContext) -> None:
        self._call = call
        self._in_a_row = 0

    def turn_known(self, turn: Speculation) -> None:
        """A committed turn's words are known."""
        assert turn.transcript is not None
        assert turn.item_id is not None
        if turn.transcript.text:
            self._in_a_row = 0
        elif turn.is_unclear:
            self._in_a_row += 1
            self._call.unclear.add(turn.item_id)

    def answers(self, turn: Speculation) -> bool:
        """Whether that turn, if it was not understood, is to be answered by itself."""
        said = self._sentences
        return not turn.is_unclear or (bool(said) and self._number(turn) <= len(said) + 1)

    def reply_to(
        self, turn: Speculation | None, plan: ResponsePlan
    ) -> tuple[ResponsePlan, AnswerSource | None]:
        """The plan of the reply to ``turn``, and what says it in place of the brain. As it was, if
        the turn was understood, or is not what the reply is about."""
        if turn is None or not turn.is_unclear or not self._is_about(turn, plan):
            return plan, None
        said = self._sentences
        if not said:
            return plan, None
        number = self._number(turn)
        noted = replace(
            plan,
            metadata={FALLBACK: NOT_UNDERSTOOD} if plan.metadata is None else plan.metadata,
            must_call=False,
            call_name=None,
        )
        if number > len(said):
            return replace(noted, note=_OFFER_HELP), None
        if not self._call.can_say(plan):
            return replace(noted, note=_ASK_AGAIN), None
        return noted, FixedWords(said[number - 1])

    @property
    def _sentences(self) -> tuple[str, ...]:
        own = self._call.session_config.duplex.not_understood
        return several(self._call.config.dialogue.not_understood if own is None else own)

    def _number(self, turn: Speculation) -> int:
        """How many in a row it makes; it counts once it is committed."""
        return self._in_a_row + (turn.item_id is None)

    def _is_about(self, turn: Speculation, plan: ResponsePlan) -> bool:
        """Whether a reply by ``plan`` would answer the turn and nothing else."""
        call = self._call
        is_last = turn.item_id is None or turn.item_id == call.conversation.last_id
        is_usual = plan.instructions == call.session_config.instructions and not plan.note
        return is_last and is_usual and plan.input is None
