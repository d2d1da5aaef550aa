"""One answer on the device: what `Minds` decides is done on two logs, and read as text."""

import math
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from engine.brain.chat_format import Renderer
from engine.errors import ContextExceeded
from engine.native.kv_cache import Log
from engine.native.minds import Finish, Minds, MindsMode, Pace, Speak, TagWatch, Think
from engine.native.model.ta4 import Codes, OtherId, SpokenId, Ta4Ids, Ta4Parser
from engine.native.runtime.generation import Generation, Inbox
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.scheduler import Scheduler
from engine.native.runtime.work import Prompt
from engine.types import Finished, GenerationOptions, RawPiece, Speech, Thought

_TAG_TOKENS = 8  # of thoughts that are held as the possible beginning of a tag, at most


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model thinks and speaks: the ids around its thoughts, and the pace of its minds.

    ``no_thoughts`` is what follows the opening of an answer without thoughts: an empty block, or
    nothing. ``speech`` of a model that speaks itself: then the last two end with ``<tts_start>``.
    """

    renderer: Renderer
    think_open: tuple[int, ...]
    think_close: tuple[int, ...]
    no_thoughts: tuple[int, ...]
    pace: Pace
    speech: Ta4Ids | None = None


class Answering:
    """The minds of one answer at work; one call's state, used once."""

    def __init__(self, manner: Manner, scheduler: Scheduler, log: Log, prompt: Prompt) -> None:
        """``log`` is the call's; ``prompt`` ends with the opening of the answer."""
        self._manner = manner
        self._scheduler = scheduler
        self._log = log
        self.prompt = prompt
        self._thinking: Generation | None = None
        self._speaking: Generation | None = None
        self._raw_thoughts: list[int] = []  # with what may turn out to be the closing tag
        self._certain: deque[int] = deque()  # thoughts that the minds were not told of yet
        self._thoughts_over = False  # the formulation mind has closed its block
        self._watch = TagWatch()
        self._thought_text = manner.renderer.stream()
        self._speech_text = manner.renderer.stream()
        self._parser = Ta4Parser(manner.speech, inside=True) if manner.speech else None
        self._words = ""  # that belong to the next codes
        self.said: list[int] = []  # the model's own ids of what it said

    async def pieces(self, options: GenerationOptions, room: int) -> AsyncGenerator[RawPiece, None]:
        """Thoughts, answer text and codes as they come, then `Finished`. ``room``: tokens that
        the context still holds. See `NativeBrainSession.generate`."""
        sampling = Sampling(options.temperature, options.top_p, options.repetition_penalty)
        minds = self._minds(options, room)
        inbox = self._scheduler.open_inbox()
        cached: int | None = None
        while True:
            while actions := minds.decide(options.speech_ahead_s()):
                for action in actions:
                    match action:
                        case Think():
                            await self._think_on(minds, sampling, inbox)
                        case Speak():
                            await self._speak(action, minds, sampling, inbox)
                        case Finish(reason):
                            for piece in self._rest():
                                yield piece
                            made = len(minds.thoughts) + len(minds.said)
                            yield Finished(reason, len(self.prompt.ids), cached or 0, made)
                            return
            who, token = await inbox.get()
            if cached is None:
                cached = min(await who.cached(), len(self.prompt.ids))
            if who is self._thinking:
                if token is None:
                    await self._think_on(minds, sampling, inbox)
                else:
                    for thought in await self._take_thought(minds, token):
                        yield thought
            elif who is self._speaking:
                for piece in self._take_speech(minds, token):
                    yield piece

    async def close(self) -> Log:
        """Stop both minds; returns the log that the call goes on with. If nothing was thought it
        is the one that holds the answer, so that the answer need not be prefilled."""
        for mind in (self._thinking, self._speaking):
            if mind is not None:
                await mind.leave()
        spoken = self._speaking.log if self._speaking is not None else self._log
        if spoken is self._log:
            return self._log
        kept, other = (self._log, spoken) if self._raw_thoughts else (spoken, self._log)
        await self._scheduler.run(other.close)
        return kept

    def _minds(self, options: GenerationOptions, room: int) -> Minds:
        pace, manner = self._manner.pace, self._manner
        block = max(
            len(manner.no_thoughts), len(manner.think_open) + len(manner.think_close) + _TAG_TOKENS
        )
        speech = min(options.max_tokens, room - block)
        if speech < 1:
            raise ContextExceeded(f"no room for an answer: {room} tokens are left")
        thoughts = max(0, min(options.think_tokens, room - block - speech))
        segment, margin, mode = pace.thought_tokens, pace.speak_margin_s, options.thinking
        if mode == "before" or not thoughts:
            segment, margin = max(1, thoughts), math.inf
        paced: MindsMode = "speak_first" if mode == "speak_first" and thoughts else "think_first"
        own = Pace(segment, pace.speech_tokens, thoughts, speech, margin, pace.patience)
        return Minds(
            paced,
            own,
            think_open=manner.think_open,
            think_close=manner.think_close,
            no_thoughts=manner.no_thoughts,
        )

    async def _think_on(self, minds: Minds, sampling: Sampling, inbox: Inbox) -> None:
        """Give the formulation mind what it is asked for: tokens that were made already and
        turned out to be thoughts, then new ones."""
        self._settle_thoughts(minds)
        if not (lacking := minds.thoughts_wanted):
            return
        if self._thinking is not None:
            await self._thinking.leave()
        ids = [*self.prompt.ids, *self._manner.think_open, *self._raw_thoughts]
        self._thinking = self._scheduler.generate(
            self._log,
            Prompt(ids, self.prompt.sounds),
            sampling,
            stop_ids=self._manner.renderer.stop_ids,
            limit=lacking,
            inbox=inbox,
        )
        await self._thinking.__aenter__()

    def _settle_thoughts(self, minds: Minds) -> None:
        """Tell the minds of as many thoughts as they ask for, and that there are no more."""
        while self._certain and minds.thoughts_wanted:
            minds.thought(self._certain.popleft())
        if self._thoughts_over and not self._certain and minds.thoughts_wanted:
            minds.thoughts_ended()

    async def _speak(self, action: Speak, minds: Minds, sampling: Sampling, inbox: Inbox) -> None:
        source = await self._speech_source(action, minds)
        shared = minds.formulation[: action.shared]
        ids = [*self.prompt.ids, *shared, *action.prefill]
        stop_ids = self._manner.renderer.stop_ids
        if self._manner.speech is not None:
            stop_ids |= {self._manner.speech.end, self._manner.speech.audio_pad}
        # Small models take the end of their thoughts for the end of their turn: after all thoughts
        # something has to be said.
        must_speak = bool(action.shared) and minds.knows_all
        self._speaking = self._scheduler.generate(
            source,
            Prompt(ids, self.prompt.sounds),
            sampling,
            stop_ids=stop_ids,
            limit=action.limit,
            forks=source is self._log and not minds.never_thinks,
            must_say=self._lacks_word() if must_speak else None,
            inbox=inbox,
        )
        await self._speaking.__aenter__()

    def _lacks_word(self) -> Callable[[int], bool] | None:
        """Whether an id that is said next completes the first word, asked in order; None if there
        is one already. It keeps state of its own: it is asked on the device's thread, which runs
        ahead of `_take_speech`."""
        text = self._manner.renderer.stream()
        ids = self._manner.speech
        parser = Ta4Parser(ids, inside=True) if ids else None

        def has_word(token: int) -> bool:
            if parser is None:
                return bool(text.feed(token).strip())
            words = [event.token for event in parser.feed(token) if not isinstance(event, Codes)]
            return any(text.feed(word).strip() for word in words)

        return None if any(map(has_word, self.said)) else has_word

    async def _speech_source(self, action: Speak, minds: Minds) -> Log:
        """The log to speak from: the last step's if that fits, else the call's."""
        if self._speaking is None or minds.never_thinks:
            return self._log
        await self._speaking.leave()
        spoken = self._speaking.log
        if action.continues:
            return spoken
        await self._scheduler.run(spoken.close)
        return self._log

    async def _take_thought(self, minds: Minds, token: int) -> list[RawPiece]:
        assert self._thinking is not None
        pieces: list[RawPiece] = []
        self._thoughts_over = token in self._manner.renderer.stop_ids
        if not self._thoughts_over:
            self._raw_thoughts.append(token)
            for certain, text in self._watch.feed(token, self._thought_text.feed(token)):
                self._certain.append(certain)
                if text:
                    pieces.append(Thought(text))
            self._thoughts_over = self._watch.is_closed
        self._settle_thoughts(minds)
        if self._thoughts_over:
            await self._thinking.leave()  # its row runs on to its limit
            self._thinking = None
        return pieces

    def _take_speech(self, minds: Minds, token: int | None) -> list[RawPiece]:
        assert self._speaking is not None
        if token is None:
            return []
        if token in self._manner.renderer.stop_ids or self._ends_speech(token):
            minds.speech_ended()
            return []
        minds.spoke(token)
        self.said.append(token)
        if self._parser is None:
            text = self._speech_text.feed(token)
            return [text] if text else []
        pieces: list[RawPiece] = []
        for event in self._parser.feed(token):
            match event:
                case Codes(codes):
                    pieces.append(Speech(self._words, codes))
                    self._words = ""
                case SpokenId(word) | OtherId(word):
                    self._words += self._speech_text.feed(word)
        return pieces

    def _ends_speech(self, token: int) -> bool:
        speech = self._manner.speech
        return speech is not None and token in (speech.end, speech.audio_pad)

    def _rest(self) -> list[RawPiece]:
        """What is still held back when the answer is over."""
        rest: list[RawPiece] = []
        if self._parser is not None:
            codes = tuple(
                code for e in self._parser.finish() if isinstance(e, Codes) for code in e.codes
            )
            words = self._words + self._speech_text.finish()
            if codes or words:
                rest.append(Speech(words, codes))
        elif text := self._speech_text.finish():
            rest.append(text)
        return rest
