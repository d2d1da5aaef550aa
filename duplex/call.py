"""What the parts of one call share. Made when the call opens, gone when it closes."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from duplex.config import Config
from duplex.interfaces import Engine, EngineSession, Steps
from duplex.metrics import Clock
from duplex.outbox import Outbox
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import NewId
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.server_events import OutputAudioDelta, ServerEvent, encode
from duplex.protocol.session_config import SessionConfig
from duplex.vad import SileroVad
from engine.types import GenerationOptions, Message, Sound
from tts.types import Voice


@dataclass(frozen=True, slots=True)
class Parts:
    """The loaded models, shared by all calls, and what a call starts with."""

    engine: Engine
    vad: SileroVad
    voice: Voice
    voice_steps: Steps
    defaults: SessionConfig
    generation: GenerationOptions = field(default_factory=GenerationOptions)


@dataclass(slots=True)
class Call:
    """The state of one call that more than one part of it needs."""

    call_id: str
    config: Config
    parts: Parts
    outbox: Outbox
    clock: Clock
    new_id: NewId
    conversation: Conversation = field(default_factory=Conversation)
    engine: EngineSession = field(init=False)
    tasks: asyncio.TaskGroup = field(init=False)  # set when the call begins to run
    conversation_id: str = field(init=False)
    session_config: SessionConfig = field(init=False)  # changed by session.update
    sounds: dict[str, Sound] = field(default_factory=dict)  # what the brain heard, by item
    _running: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.engine = self.parts.engine.open()
        self.conversation_id = self.new_id("conv")
        self.session_config = self.parts.defaults

    def send(self, *events: ServerEvent) -> None:
        """Queue events for the client.

        Raises:
            CallOverrun: the client reads too slowly.
        """
        for event in events:
            self.outbox.put(encode(event, self.new_id))

    def send_audio(self, response_id: str, *events: ServerEvent) -> None:
        """Queue events of which the audio may be overtaken and dropped if the reply is cut."""
        for event in events:
            audio_of = response_id if isinstance(event, OutputAudioDelta) else None
            self.outbox.put(encode(event, self.new_id), audio_of)

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

    def history(self, instructions: str) -> list[Message]:
        """What the brain is shown: the instructions and the conversation's words."""
        system = [Message("system", instructions)] if instructions else []
        return system + [
            Message(item.role, item.text, self.sounds.get(item.id))
            for item in self.conversation.messages()
        ]

    def generation_options(self, plan: ResponsePlan) -> GenerationOptions:
        """How an answer is decoded: the client's limit within the server's."""
        options = self.parts.generation
        if plan.max_output_tokens == "inf":
            return options
        return replace(options, max_tokens=min(options.max_tokens, plan.max_output_tokens))


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` and wait until it has let go of everything."""
    task.cancel()
    await asyncio.wait([task])
