"""What the parts of one call share. Made when the call opens, gone when it closes."""

import asyncio
from collections.abc import Coroutine
from dataclasses import InitVar, dataclass, field, replace
from typing import Any

from duplex.config import Config
from duplex.dialogue.history import call_rule, messages_of, system_messages
from duplex.dialogue.interfaces import Engine, EngineSession
from duplex.dialogue.outbox import Outbox
from duplex.dialogue.parts import Parts
from duplex.metrics import Clock, Metrics
from duplex.protocol.conversation import Conversation, is_shown
from duplex.protocol.ids import NewId
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.server_events import OutputAudioDelta, ServerEvent
from duplex.protocol.session_config import SessionConfig
from duplex.protocol.shapes import GaShape, Shape
from engine.types import GenerationOptions, Message, Sound


@dataclass(slots=True)
class Call:
    """The state of one call that more than one part of it needs."""

    call_id: str
    config: Config
    parts: Parts
    outbox: Outbox
    clock: Clock
    new_id: NewId
    start: InitVar[SessionConfig | None] = None  # what to begin with, if not the server's own
    conversation: Conversation = field(default_factory=Conversation)
    thinker: Engine = field(init=False)  # the engine that the call was opened for
    engine: EngineSession = field(init=False)
    tasks: asyncio.TaskGroup = field(init=False)  # set when the call begins to run
    conversation_id: str = field(init=False)
    session_config: SessionConfig = field(init=False)  # changed by session.update
    shape: Shape = field(default_factory=GaShape)  # how the client sends and gets events
    metrics: Metrics = field(default_factory=Metrics)  # the server's
    sounds: dict[str, Sound] = field(default_factory=dict)  # what the brain heard, by item
    _running: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self, start: SessionConfig | None) -> None:
        self.session_config = start or self.parts.defaults
        self.thinker = self.parts.engine_of(self.session_config.model)
        self.engine = self.thinker.open()
        self.conversation_id = self.new_id("conv")

    def send(self, *events: ServerEvent) -> None:
        """Queue events for the client.

        Raises:
            CallOverrun: the client reads too slowly.
        """
        for event in events:
            self._put(event)

    def send_audio(self, response_id: str, *events: ServerEvent) -> None:
        """Queue events of which the audio may be overtaken and dropped if the reply is cut."""
        for event in events:
            audio_of = response_id if isinstance(event, OutputAudioDelta) else None
            self._put(event, audio_of)

    def _put(self, event: ServerEvent, audio_of: str | None = None) -> None:
        for message in self.shape.write(event, self.new_id):
            self.outbox.put(message, audio_of)

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

    def history(self, plan: ResponsePlan) -> list[Message]:
        """What the brain is shown: the instructions, and the conversation or what is to be
        answered in its place."""
        if plan.input is None:
            items = self.conversation.shown()
        else:
            items = [item for item in plan.input if is_shown(item)]
        notes = [Message("system", plan.note)] if plan.note else []
        return system_messages(plan) + messages_of(items, self.sounds) + notes

    def generation_options(self, plan: ResponsePlan) -> GenerationOptions:
        """How an answer is decoded: the client's limit within the server's."""
        options = replace(self.parts.generation, calls=call_rule(plan))
        if plan.max_output_tokens == "inf":
            return options
        return replace(options, max_tokens=min(options.max_tokens, plan.max_output_tokens))


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` and wait until it has let go of everything."""
    task.cancel()
    await asyncio.wait([task])
