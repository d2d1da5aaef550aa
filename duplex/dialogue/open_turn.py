"""The caller's turn while it is open: its partial words, and the speculation that it is over."""

import contextlib
from contextlib import aclosing

from duplex.audio.formats import Samples
from duplex.dialogue.call import CallContext
from duplex.dialogue.speculation import Speculation
from duplex.protocol.input_stream import transcription_delta
from duplex.protocol.response_plan import plan_response
from engine.errors import EngineError


class OpenTurn:
    """One turn of the caller's, from its beginning until it is committed or discarded.

    The dialogue has one while a turn is open, and None otherwise: nothing else says so there.
    """

    def __init__(self, call: CallContext, item_id: str, audio: Samples | None) -> None:
        """``item_id``: the turn's. ``audio``: its beginning, if that is known already."""
        self.speculation: Speculation | None = None  # set while the caller pauses
        self._call = call
        self._item_id = item_id
        self._sent = ""  # the words that were sent as transcription deltas
        call.engine.begin_turn()
        if audio is not None:
            call.engine.append_audio(audio)
        self._partials = call.spawn(self._send_partials())

    def pause(self) -> None:
        """There is no speech in it for now, or it is over: no more partial words."""
        self._partials.cancel()

    def go_on(self) -> None:
        """There is speech in it again."""
        self._partials = self._call.spawn(self._send_partials())

    async def _send_partials(self) -> None:
        """Send words as they become stable. They are only ever added to: a client cannot take
        words back, the final transcript corrects them."""
        call = self._call
        history = call.history(plan_response(call.session_config))
        with contextlib.suppress(EngineError):  # the exact pass, or the reply, will say so
            async with aclosing(call.engine.listen(history)) as transcripts:
                async for transcript in transcripts:
                    fresh = transcript.stable.removeprefix(self._sent)
                    is_longer = bool(fresh) and transcript.stable.startswith(self._sent)
                    if is_longer and call.transcribes:
                        call.send(transcription_delta(self._item_id, fresh))
                        self._sent = transcript.stable
