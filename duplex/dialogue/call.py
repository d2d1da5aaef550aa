"""What the parts of one call share, and what the brain is shown of the call."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any

import msgspec

from duplex.config import Config
from duplex.dialogue.interfaces import Engine, EngineSession
from duplex.dialogue.languages import answer_line
from duplex.dialogue.observers import Observers
from duplex.dialogue.outbox import Outbox
from duplex.dialogue.parts import Parts
from duplex.interruption.words import has_asked
from duplex.logs import call_logger
from duplex.metrics import Clock, Metrics
from duplex.protocol.conversation import Conversation, is_shown
from duplex.protocol.ids import NewId
from duplex.protocol.items import FunctionCall, FunctionCallOutput, Item, words_of
from duplex.protocol.items import Message as MessageItem
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.server_events import ItemDeleted, OutputAudioDelta, ServerEvent
from duplex.protocol.session_config import SessionConfig
from duplex.protocol.shapes import Shape, ShapeName, shape_of
from duplex.protocol.shown_words import ShownWords
from duplex.protocol.tools import FunctionTool
from engine.types import GenerationOptions, Message, Sound, Tool, ToolCall, ToolResult

logger = logging.getLogger(__name__)
UNCLEAR = "(unintelligible)"  # what the brain is shown of speech that nobody understood


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of a recording: its words, and its sound if the brain hears."""

    text: str
    sound: Sound | None


@dataclass(slots=True)
class CallContext:
    """The state of one call that more than one part of it needs; complete when it is made."""

    call_id: str
    config: Config
    parts: Parts
    outbox: Outbox
    clock: Clock
    new_id: NewId
    start: InitVar[SessionConfig | None] = None  # what to begin with, if not the server's own
    shape_name: InitVar[ShapeName] = "ga"  # how the client sends and gets events
    metrics: Metrics = field(default_factory=Metrics)  # the server's
    observers: Observers = field(default_factory=lambda: Observers(time.monotonic))
    conversation: Conversation = field(default_factory=Conversation)
    thinker: Engine = field(init=False)  # the engine that the call was opened for
    engine: EngineSession = field(init=False)
    tasks: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)  # entered by the session
    conversation_id: str = field(init=False)
    session_config: SessionConfig = field(init=False)  # changed by session.update
    shape: Shape = field(init=False)
    sounds: dict[str, Sound] = field(default_factory=dict)  # what the brain heard, by item
    language: str = ""  # of the caller, as the ear heard it last; "" if it does not say
    shown_words: ShownWords = field(default_factory=ShownWords)
    # What it heard of recordings, in pieces, by item and content index.
    recorded: dict[str, dict[int, tuple[Heard, ...]]] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)  # items in which nothing was understood
    _running: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self, start: SessionConfig | None, shape_name: ShapeName) -> None:
        self.session_config = start or self.parts.defaults
        self.thinker = self.parts.engine_of(self.session_config.model)
        self.engine = self.thinker.open()
        self.conversation_id = self.new_id("conv")
        self.shape = shape_of(shape_name, self.conversation_id)

    def send(self, *events: ServerEvent) -> None:
        """Queue events for the client.

        Raises:
            CallOverrun: the client reads too slowly.
        """
        for event in events:
            self._put(event)

    def send_audio(self, response_id: str, *events: ServerEvent) -> None:
        """Queue events; their audio is dropped if the reply is cut before it is sent."""
        for event in events:
            audio_of = response_id if isinstance(event, OutputAudioDelta) else None
            self._put(event, audio_of)

    def _put(self, event: ServerEvent, audio_of: str | None = None) -> None:
        for message in self.shape.write(event, self.new_id):
            self.outbox.put(message, audio_of)
        self.observers.sent(event)

    def take_back(self, item_id: str) -> None:
        """The item is no part of the call: it was made of a turn that goes on. Nothing happens if
        it is not in the conversation."""
        if item_id in self.conversation:
            self.conversation.delete(item_id)
            self.send(ItemDeleted(item_id=item_id))
        self.observers.taken_back(item_id)

    def last_words(self, item_id: str, transcript: str) -> list[ServerEvent]:
        """The last delta of a turn's words, before its transcript. It is counted whether the
        deltas add up to it."""
        last, agree = self.shown_words.complete(item_id, transcript)
        self.metrics.count("duplex_transcripts_total", deltas="agree" if agree else "differ")
        if not agree:
            log = call_logger(logger, self.call_id)
            log.info("the deltas of %s differ from its transcript", item_id)
        return last

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` as a task of the call: its failure ends the call, its end the task."""
        task = self.tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def cancel_tasks(self) -> None:
        """Cancel all work of the call; its task group waits for it."""
        for task in self._running:
            task.cancel()

    @property
    def creates_responses(self) -> bool:
        """Whether the end of a turn calls for a reply by itself."""
        if self.session_config.only_transcribes:
            return False
        detection = self.session_config.audio.input.turn_detection
        return detection is not None and detection.create_response

    @property
    def interrupts_responses(self) -> bool:
        """Whether the caller's speech stops a reply."""
        detection = self.session_config.audio.input.turn_detection
        return detection is not None and detection.interrupt_response

    @property
    def transcribes(self) -> bool:
        """Whether the client wants the caller's words."""
        return self.session_config.audio.input.transcription is not None

    @property
    def is_asked(self) -> bool:
        """Whether the last thing that was said is a question of the assistant's."""
        items = self.conversation.items
        if not items or not isinstance(items[-1], MessageItem):
            return False
        return items[-1].role == "assistant" and has_asked(items[-1].text)

    def can_say(self, plan: ResponsePlan) -> bool:
        """Whether given words can be said in a response; not by a voice that the brain drives."""
        return plan.modality == "text" or not self.parts.voice_of(plan.voice).takes_codes

    def history(self, plan: ResponsePlan) -> list[Message]:
        """What the brain is shown: the instructions, and the conversation or what is to be
        answered in its place."""
        if plan.input is None:
            kept = self.conversation.items
            items = [item for item in kept if is_shown(item) or item.id in self.unclear]
        else:
            items = [item for item in plan.input if is_shown(item)]
        notes = [Message("system", plan.note)] if plan.note else []
        if self.language not in ("", "en"):  # English is answered without being told
            instructions = f"{plan.instructions} {answer_line(self.language)}".lstrip()
            plan = replace(plan, instructions=instructions)
        return beginning_of(plan) + messages_of(items, self.sounds, self.recorded) + notes

    def generation_options(self, plan: ResponsePlan) -> GenerationOptions:
        """How a reply is decoded: the client's limit within the server's.

        A function that is named is called once, as OpenAI has it. A session's choice that a
        function must be called is for what the caller says. If it held for results of calls too,
        the caller would never hear one.
        """
        must = plan.must_call and (plan.must_after_result or not self._answers_result(plan))
        name = plan.call_name if must else None
        calls = self.parts.generation.calls
        many = plan.parallel_calls and name is None
        rule = replace(calls, must=must, name=name, many=many)
        options = replace(self.parts.generation, calls=rule)
        if plan.max_output_tokens == "inf":
            return options
        return replace(options, max_tokens=min(options.max_tokens, plan.max_output_tokens))

    def _answers_result(self, plan: ResponsePlan) -> bool:
        """Whether the last thing that a response by ``plan`` is shown is the result of a call."""
        items = self.conversation.shown() if plan.input is None else plan.input
        return bool(items) and isinstance(items[-1], FunctionCallOutput)


async def stop_task(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` and wait until it has let go of everything."""
    task.cancel()
    await asyncio.wait([task])


def beginning_of(plan: ResponsePlan) -> list[Message]:
    """What the brain is shown first: the instructions and the tools, if there are any."""
    tools = tuple([_tool(tool) for tool in plan.tools]) if plan.tools else ()
    has_beginning = bool(plan.instructions or tools)
    return [Message("system", plan.instructions, tools=tools)] if has_beginning else []


def messages_of(
    items: Sequence[Item],
    sounds: Mapping[str, Sound],
    recorded: Mapping[str, Mapping[int, tuple[Heard, ...]]],
) -> list[Message]:
    """Return ``items`` as the brain is shown them; ``sounds`` are what it heard, by item id, and
    ``recorded`` the pieces of recordings, which are shown one after the other.

    Calls belong to the words before them, as the model said both in one answer; results that
    come together are shown together. A result without its call is left out.
    """
    names: dict[str, str] = {}  # of the functions called, by call id
    for item in items:
        if isinstance(item, FunctionCall):
            names[item.call_id] = item.name
    messages: list[Message] = []
    for item in items:
        last = messages[-1] if messages else None
        match item:
            case MessageItem(id=item_id) if item_id in recorded:
                messages += _pieces(item, recorded[item_id])
            case MessageItem():
                words = item.text or UNCLEAR
                messages.append(Message(item.role, words, sounds.get(item.id)))
            case FunctionCall():
                call = ToolCall(item.name, item.arguments, item.call_id)
                if last is not None and last.role == "assistant":
                    messages[-1] = Message("assistant", last.text, calls=(*last.calls, call))
                else:
                    messages.append(Message("assistant", "", calls=(call,)))
            case FunctionCallOutput(call_id=call_id) if call_id in names:
                result = ToolResult(names[call_id], item.output, call_id)
                if last is not None and last.role == "tool":
                    messages[-1] = Message("tool", "", results=(*last.results, result))
                else:
                    messages.append(Message("tool", "", results=(result,)))
    return messages


def _pieces(item: MessageItem, recorded: Mapping[int, tuple[Heard, ...]]) -> list[Message]:
    """Return a message of sounds, and maybe texts between them, as several."""
    messages: list[Message] = []
    for index, part in enumerate(item.content):
        pieces = recorded.get(index, (Heard(words_of(part), None),))
        messages += [Message(item.role, p.text, p.sound) for p in pieces if p.text or p.sound]
    return messages


def _tool(tool: FunctionTool) -> Tool:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return Tool(tool.name, tool.description or "", msgspec.json.encode(parameters).decode())
