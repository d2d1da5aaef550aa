"""Whether a brain has room for instructions and tools: said when they are set, not in the call."""

from dataclasses import replace

from duplex.dialogue.call import beginning_of
from duplex.dialogue.interfaces import EngineSession
from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.response_plan import ResponsePlan
from engine.brain.interface import MeasuresContext
from engine.errors import EngineError


def check_beginning(engine: EngineSession, plan: ResponsePlan, param: str) -> None:
    """Refuse instructions and tools that leave no room for a conversation. An engine that does not
    know its tokens refuses nothing; ``param`` is where they stand in the event.

    Raises:
        ProtocolError: context_length_exceeded.
    """
    if not isinstance(engine, MeasuresContext):
        return
    try:
        use = engine.measure(beginning_of(plan))
        if use is None or use.fits:
            return
        alone = engine.measure(beginning_of(replace(plan, tools=())))
    except EngineError:
        return  # the model cannot call functions at all: the response says so
    assert alone is not None
    is_long = not alone.fits
    what = "The instructions have" if is_long else "The instructions and the tools have"
    tokens = alone.tokens if is_long else use.tokens
    raise ProtocolError(
        f"{what} {tokens} tokens; the context holds {use.context_tokens}, of which "
        f"{use.reserved_tokens} are reserved for the conversation.",
        code=Code.CONTEXT_EXCEEDED,
        param=f"{param}.{'instructions' if is_long else 'tools'}",
    )
