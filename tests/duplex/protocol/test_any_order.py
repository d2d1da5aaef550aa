"""Any order of events, from a hostile client and a server at once, leaves a legal call."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from duplex.dialogue.call import messages_of
from duplex.errors import IllegalTransition, ProtocolError
from duplex.protocol import client_events as ce
from duplex.protocol import server_events as wire
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import counting_ids
from duplex.protocol.input_stream import InputStream
from duplex.protocol.item_requests import obey
from duplex.protocol.items import (
    FunctionCall,
    FunctionCallOutputParam,
    FunctionCallParam,
    InputText,
    MessageParam,
)
from duplex.protocol.response_input import ItemReference
from duplex.protocol.response_plan import plan_response
from duplex.protocol.response_stream import (
    CLIENT_CANCELLED,
    COMPLETED,
    MAX_OUTPUT_TOKENS,
    TURN_DETECTED,
    ResponseStream,
    check_can_cancel,
    check_can_respond,
    failed,
)
from duplex.protocol.response_types import StatusDetails
from duplex.protocol.session_config import SessionConfig

RATE = 16_000
ENDINGS = [COMPLETED, TURN_DETECTED, CLIENT_CANCELLED, MAX_OUTPUT_TOKENS, failed("It broke.")]


class OrderChecker:
    """What the API promises, said a second time: opened before used, closed once, then never
    seen again."""

    def __init__(self) -> None:
        self.open_responses: set[str] = set()
        self.closed_responses: set[str] = set()
        self.stages: dict[str, list[str]] = {}  # of each item
        self.words: dict[str, str] = {}
        self.places: dict[tuple[str, int], str] = {}  # response id and output index -> item id

    def see(self, event: Any) -> None:
        name = event.__struct_config__.tag
        if name in ("response.created", "response.done"):
            response_id = event.response.id
            assert response_id not in self.closed_responses
            if name == "response.created":
                self.open_responses.add(response_id)
            else:
                self.open_responses.remove(response_id)
                self.closed_responses.add(response_id)
                self.check_closed(event.response)
        elif name.startswith("response."):
            assert event.response_id in self.open_responses
            self.see_part(name.removeprefix("response."), event)

    def see_part(self, name: str, event: Any) -> None:
        if name == "output_item.added":
            assert event.item.id not in self.stages
            self.stages[event.item.id] = [name]
            place = (event.response_id, event.output_index)
            assert place not in self.places
            self.places[place] = event.item.id
            assert all(  # one at a time, counted from 0
                self.stages[self.places[event.response_id, index]][-1] == "output_item.done"
                for index in range(event.output_index)
            )
            return
        item_id = event.item.id if name == "output_item.done" else event.item_id
        assert self.places[event.response_id, event.output_index] == item_id
        seen = self.stages[item_id]
        assert "output_item.done" not in seen
        if name.endswith(".delta"):
            assert "content_part.added" in seen or name.startswith("function_call")
            assert not any(stage.endswith(".done") for stage in seen)
            if isinstance(event.delta, str):
                self.words[item_id] = self.words.get(item_id, "") + event.delta
        else:
            assert name not in seen
            seen.append(name)
        for told in (getattr(event, key, None) for key in ("transcript", "text", "arguments")):
            assert told is None or told == self.words.get(item_id, "")

    def check_closed(self, ended: Any) -> None:
        assert [item.id for item in ended.output] == [
            item_id for item_id in self.stages if item_id in {i.id for i in ended.output}
        ]
        for index, item in enumerate(ended.output):
            assert self.places[ended.id, index] == item.id
            assert self.stages[item.id][-1] == "output_item.done"
            assert len(self.stages[item.id]) == len(set(self.stages[item.id]))


class CallMachine(RuleBasedStateMachine):
    """A client that does anything at any time, and a server that does its own things."""

    def __init__(self) -> None:
        super().__init__()
        self.new_id = counting_ids()
        self.conversation = Conversation(max_items=6)
        self.caller = InputStream(self.conversation, self.new_id, RATE)
        self.active: ResponseStream | None = None
        self.beside: ResponseStream | None = None  # out of band
        self.calls = ["nothing"]  # call ids, theirs and ours
        self.order = OrderChecker()
        self.known = ["root", "nobody"]

    def send(self, events: list[wire.ServerEvent]) -> None:
        for event in events:
            message = wire.encode(event, self.new_id)
            assert replace(wire.decode(message), event_id=event.event_id) == event
            self.order.see(event)
            self.check_out_of_band(event)
            if isinstance(event, wire.OutputItemAdded) and isinstance(event.item, FunctionCall):
                self.calls.append(event.item.call_id)
            if isinstance(event, wire.ItemAdded | wire.SpeechStarted):
                self.known.append(event.item.id if "item" in fields(event) else event.item_id)

    def check_out_of_band(self, event: wire.ServerEvent) -> None:
        """Items of a response out of band are told of by its own events only."""
        if isinstance(event, wire.ItemAdded | wire.ItemDone) and self.beside is not None:
            assert (self.beside.response_id, 0) not in self.order.places or (
                event.item.id != self.order.places[self.beside.response_id, 0]
            )

    def attempt(self, do: Callable[[], list[wire.ServerEvent]]) -> None:
        before = self.conversation.items
        try:
            events = do()
        except ProtocolError as error:
            assert self.conversation.items == before
            events = [wire.client_error(error, "theirs")]
        self.send(events)

    @rule(data=st.data(), kind=st.sampled_from([ce.ItemDelete, ce.ItemRetrieve]))
    def request(self, data: st.DataObject, kind: type) -> None:
        event = kind(item_id=data.draw(st.sampled_from(self.known)))
        self.attempt(lambda: obey(event, self.conversation, self.new_id))

    @rule(data=st.data(), text=st.text(max_size=5))
    def create(self, data: st.DataObject, text: str) -> None:
        some_id = st.none() | st.sampled_from(self.known)
        item = MessageParam(role="user", content=(InputText(text),), id=data.draw(some_id))
        event = ce.ItemCreate(item=item, previous_item_id=data.draw(some_id))
        self.attempt(lambda: obey(event, self.conversation, self.new_id))

    @rule(data=st.data(), status=st.sampled_from([None, "completed", "incomplete"]))
    def create_call(self, data: st.DataObject, status: Any) -> None:
        call_id = data.draw(st.sampled_from([*self.calls, "theirs"]))
        item = FunctionCallParam(name="f", call_id=call_id, arguments="{}", status=status)
        self.calls.append(call_id)
        event = ce.ItemCreate(item=item, previous_item_id=data.draw(st.sampled_from(self.known)))
        self.attempt(lambda: obey(event, self.conversation, self.new_id))

    @rule(data=st.data(), output=st.text(max_size=5))
    def create_output(self, data: st.DataObject, output: str) -> None:
        item = FunctionCallOutputParam(
            call_id=data.draw(st.sampled_from(self.calls)), output=output
        )
        self.attempt(lambda: obey(ce.ItemCreate(item=item), self.conversation, self.new_id))

    @rule(data=st.data(), index=st.integers(0, 1))
    def truncate(self, data: st.DataObject, index: int) -> None:
        item_id = data.draw(st.sampled_from(self.known))

        def do() -> list[wire.ServerEvent]:
            self.conversation.truncate(item_id, index, "cut")
            return [wire.ItemTruncated(item_id=item_id, content_index=index, audio_end_ms=1)]

        self.attempt(do)

    @rule(samples=st.integers(0, RATE))
    def append(self, samples: int) -> None:
        self.caller.append(samples)

    @rule()
    def commit(self) -> None:
        self.attempt(lambda: self.caller.commit()[1])

    @rule(at=st.integers(0, 10**9))
    def time_out(self, at: int) -> None:
        self.attempt(lambda: self.caller.time_out(at, at + 5 * RATE)[1])

    @rule()
    def clear(self) -> None:
        self.send(self.caller.clear())

    @rule(at=st.integers(0, 10**9))
    def speech(self, at: int) -> None:
        if self.caller.is_speaking:
            self.send(self.caller.speech_stopped(at))
        else:
            self.send(self.caller.speech_started(at))

    @rule(data=st.data())
    def transcribe(self, data: st.DataObject) -> None:
        item_id = data.draw(st.sampled_from(self.known))
        self.send(self.caller.transcribed(item_id, "heard", RATE))

    @rule(modality=st.sampled_from(["audio", "text"]))
    def respond(self, modality: str) -> None:
        def do() -> list[wire.ServerEvent]:
            check_can_respond(self.active)
            plan = plan_response(SessionConfig(), ce.ResponseParams(output_modalities=(modality,)))  # type: ignore[arg-type]
            self.active = ResponseStream(plan, self.conversation, "conv_1", self.new_id)
            return self.active.start()

        self.attempt(do)

    @precondition(lambda self: self.beside is None or not self.beside.is_active)
    @rule(data=st.data())
    def respond_beside(self, data: st.DataObject) -> None:
        reference = ItemReference(data.draw(st.sampled_from(self.known)))

        def do() -> list[wire.ServerEvent]:
            params = ce.ResponseParams(
                output_modalities=("text",), conversation="none", input=(reference,)
            )
            plan = plan_response(SessionConfig(), params, self.conversation)
            self.beside = ResponseStream(plan, self.conversation, "conv_1", self.new_id)
            return self.beside.start()

        before = self.conversation.items
        self.attempt(do)
        assert self.conversation.items == before

    @precondition(lambda self: self.beside and self.beside.is_active)
    @rule(move=st.sampled_from(["words", "call", "arguments", "end_call", "finish"]))
    def go_on_beside(self, move: str) -> None:
        assert self.beside
        before = self.conversation.items
        self.try_move(self.beside, move)
        assert self.conversation.items == before

    @precondition(lambda self: self.active and self.active.is_active)
    @rule(move=st.sampled_from(["call", "arguments", "end_call"]))
    def call(self, move: str) -> None:
        assert self.active
        self.try_move(self.active, move)

    def try_move(self, stream: ResponseStream, move: str) -> None:
        before = self.conversation.items
        try:
            events = MOVES[move](stream) if move != "words" else stream.text("x")
        except IllegalTransition:
            assert self.conversation.items == before
            return
        self.send(events)

    @precondition(lambda self: self.active and self.active.is_active)
    @rule(words=st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
    def answer(self, words: str) -> None:
        assert self.active
        audio = self.active.plan.modality == "audio"
        before = self.conversation.items
        try:
            events = self.active.audio(b"aa", words) if audio else self.active.text(words)
        except IllegalTransition:  # the model has called a function
            assert self.conversation.items == before
            return
        self.send(events)

    @precondition(lambda self: self.active and self.active.is_active)
    @rule(ending=st.sampled_from(ENDINGS))
    def end(self, ending: StatusDetails) -> None:
        assert self.active
        self.send(self.active.finish(ending))

    @rule(response_id=st.none() | st.just("other"))
    def cancel(self, response_id: str | None) -> None:
        self.attempt(lambda: check_can_cancel(self.active, response_id).finish(CLIENT_CANCELLED))

    @invariant()
    def the_conversation_is_sound(self) -> None:
        items = self.conversation.items
        assert len({item.id for item in items}) == len(items) <= 6
        unfinished = [item.id for item in items if item.status == "in_progress"]
        running = self.active is not None and self.active.is_active
        assert len(unfinished) <= running
        shown = messages_of(self.conversation.shown(), {}, {})
        results = {result.call_id for message in shown for result in message.results}
        named = {item.call_id for item in items if isinstance(item, FunctionCall)}
        assert results <= named


def fields(event: wire.ServerEvent) -> tuple[str, ...]:
    return event.__struct_fields__


TestAnyOrderOfEvents = CallMachine.TestCase


MOVES: dict[str, Callable[[ResponseStream], list[wire.ServerEvent]]] = {
    "start": lambda stream: stream.start(),
    "words": lambda stream: stream.audio(b"aa", "x"),
    "thought": lambda stream: stream.thought("x"),
    "call": lambda stream: stream.call("f"),
    "arguments": lambda stream: stream.arguments("{"),
    "end_call": lambda stream: stream.end_call(),
    "finish": lambda stream: stream.finish(COMPLETED),
}


@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=8))
def test_any_order_of_moves_is_legal_or_refused(moves: list[str]) -> None:
    plan = plan_response(SessionConfig())
    stream = ResponseStream(plan, Conversation(), "conv_1", counting_ids())
    order = OrderChecker()
    for move in moves:
        try:
            events = MOVES[move](stream)
        except IllegalTransition:
            continue
        for event in events:
            order.see(event)
    if stream.is_active:
        for event in stream.finish(COMPLETED):
            order.see(event)
    assert order.open_responses == set()
