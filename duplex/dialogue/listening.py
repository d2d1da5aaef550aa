"""The caller's open turn on its way to words: what the engine is given, what the client is told."""

import asyncio
import contextlib
from contextlib import aclosing

from duplex.audio.formats import Samples
from duplex.dialogue.call import CallContext
from duplex.dialogue.speculation import Speculation
from duplex.protocol.input_stream import InputStream, transcription_delta, transcription_failed
from duplex.protocol.response_plan import plan_response
from engine.errors import EngineError


class Listening:
    """The words of one call's turns, partial while there is speech, exact when it is over."""

    def __init__(self, call: CallContext, caller: InputStream) -> None:
        self._call = call
        self._input = caller
        self._told = ""  # the words of the open turn already sent as transcription deltas
        self._task: asyncio.Task[None] | None = None  # partial transcripts, while there is speech

    def open(self, audio: Samples | None) -> None:
        """A turn begins, and its first ``audio`` is known already, if there is any."""
        self._told = ""
        self._call.engine.begin_turn()
        if audio is not None:
            self._call.engine.append_audio(audio)
        self.start()

    def start(self) -> None:
        """There is speech in the open turn."""
        self._task = self._call.spawn(self._tell_partials())

    def stop(self) -> None:
        """There is none any more."""
        if self._task is not None:
            self._task.cancel()

    def tell_words(self, attempt: Speculation, item_id: str) -> None:
        """The committed turn's words are known: into history, and to the client."""
        assert attempt.transcript is not None
        text, samples = attempt.transcript.text, attempt.transcript.samples
        if attempt.transcript.sound is not None:
            self._call.sounds[item_id] = attempt.transcript.sound
        events = self._input.transcribed(item_id, text, samples)
        if attempt.failure is not None:
            self._call.send(transcription_failed(item_id, attempt.failure))
        elif self._transcribes:
            self._call.send(*events)

    def tell_silence(self, from_sample: int, to_sample: int) -> str:
        """The caller has said nothing for too long: commit that. Returns the item's id."""
        item_id, events = self._input.time_out(from_sample, to_sample)
        self._call.send(*events)
        words = self._input.transcribed(item_id, "", 0)
        if self._transcribes:
            self._call.send(*words)
        return item_id

    @property
    def _transcribes(self) -> bool:
        return self._call.session_config.audio.input.transcription is not None

    async def _tell_partials(self) -> None:
        """Send words as they become stable. They are only ever added to: a client cannot take
        words back, the final transcript corrects them."""
        item_id = self._input.item_id
        with contextlib.suppress(EngineError):  # the exact pass, or the answer, will say so
            await self._tell_partials_of(item_id)

    async def _tell_partials_of(self, item_id: str) -> None:
        history = self._call.history(plan_response(self._call.session_config))
        async with aclosing(self._call.engine.listen(history)) as transcripts:
            async for transcript in transcripts:
                fresh = transcript.stable.removeprefix(self._told)
                if fresh and transcript.stable.startswith(self._told) and self._transcribes:
                    self._call.send(transcription_delta(item_id, fresh))
                    self._told = transcript.stable
