"""The order of items, the error codes, and what the model is shown."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from duplex.errors import ProtocolError
from duplex.protocol import server_events as wire
from duplex.protocol.client_events import ItemCreate, ItemDelete, ItemRetrieve
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import counting_ids
from duplex.protocol.item_requests import obey
from duplex.protocol.items import (
    InputAudio,
    InputText,
    Message,
    MessageParam,
    OutputAudio,
    OutputText,
)


def typed(item_id: str, text: str = "hello") -> Message:
    return Message(id=item_id, role="user", content=(InputText(text),))


def spoken(item_id: str, transcript: str | None = "Well, hello there.") -> Message:
    return Message(id=item_id, role="assistant", content=(OutputAudio(transcript=transcript),))


def conversation_of(*items: Message, **bounds: int) -> Conversation:
    conversation = Conversation(**bounds)
    for item in items:
        conversation.insert(item)
    return conversation


def shown(conversation: Conversation) -> list[tuple[str, str]]:
    return [(item.role, item.text) for item in conversation.shown()]


def ids(conversation: Conversation) -> list[str]:
    return [item.id for item in conversation.items]


@pytest.mark.parametrize(
    ("after", "order", "previous"),
    [
        (None, ["a", "b", "c", "new"], "c"),
        ("root", ["new", "a", "b", "c"], None),
        ("a", ["a", "new", "b", "c"], "a"),
        ("c", ["a", "b", "c", "new"], "c"),
    ],
)
def test_insert(after: str | None, order: list[str], previous: str | None) -> None:
    conversation = conversation_of(typed("a"), typed("b"), typed("c"))
    assert conversation.insert(typed("new"), after) == previous
    assert ids(conversation) == order


def test_the_first_item_follows_nothing() -> None:
    assert Conversation().insert(typed("a")) is None


@pytest.mark.parametrize(
    ("attempt", "code"),
    [
        (lambda c: c.insert(typed("a")), "item_create_duplicate_item_id"),
        (lambda c: c.insert(typed("root")), "item_create_duplicate_item_id"),
        (lambda c: c.insert(typed("x"), "gone"), "item_create_invalid_previous_item_id"),
        (lambda c: c.insert(typed("x", "y" * 101)), "item_too_large"),
        (lambda c: c.retrieve("gone"), "item_retrieve_invalid_item_id"),
        (lambda c: c.delete("gone"), "item_delete_invalid_item_id"),
        (lambda c: c.truncate("gone", 0, ""), "item_truncate_invalid_item_id"),
        (lambda c: c.truncate("a", 0, ""), "unsupported_content_type"),
        (lambda c: c.truncate("b", 0, ""), "unsupported_content_type"),
        (lambda c: c.truncate("c", 1, ""), "invalid_value"),
    ],
)
def test_refusals_change_nothing(attempt: Callable[[Conversation], object], code: str) -> None:
    written = Message(id="b", role="assistant", content=(OutputText("hi"),))
    conversation = conversation_of(typed("a"), written, spoken("c"), max_chars=100)
    before = conversation.items
    with pytest.raises(ProtocolError) as caught:
        attempt(conversation)
    assert caught.value.code == code
    assert conversation.items == before


def test_truncate_keeps_what_was_heard() -> None:
    conversation = conversation_of(typed("a"), spoken("b"))
    conversation.truncate("b", 0, "Well,")
    assert shown(conversation) == [("user", "hello"), ("assistant", "Well,")]
    assert conversation.retrieve("b").status == "incomplete"
    conversation.truncate("b", 0, "")
    assert shown(conversation) == [("user", "hello")]


def test_an_answer_cut_while_it_is_given_stays_cut() -> None:
    unfinished = Message(
        id="b", role="assistant", status="in_progress", content=(OutputAudio(transcript=""),)
    )
    conversation = conversation_of(unfinished)
    assert shown(conversation) == []
    conversation.truncate("b", 0, "Well,")
    conversation.finish(spoken("b"))
    assert shown(conversation) == [("assistant", "Well,")]


def test_finishing_and_transcribing_what_is_gone_does_nothing() -> None:
    conversation = conversation_of(typed("b", "mine"))
    conversation.finish(spoken("a"))
    conversation.finish(spoken("b"))  # deleted, then the client took its id
    conversation.set_transcript("a", 0, "x")
    conversation.set_transcript("b", 0, "x")
    conversation.set_transcript("b", 1, "x")
    assert conversation.items == (typed("b", "mine"),)


def test_transcripts_are_shown_once_known() -> None:
    heard = Message(id="a", role="user", content=(InputAudio(), InputText("(waves)")))
    conversation = conversation_of(heard)
    assert shown(conversation) == [("user", "(waves)")]
    conversation.set_transcript("a", 0, "Good day")
    assert shown(conversation) == [("user", "Good day (waves)")]


def test_the_oldest_are_forgotten_beyond_the_bounds() -> None:
    conversation = conversation_of(*(typed(str(n)) for n in range(5)), max_items=3)
    assert ids(conversation) == ["2", "3", "4"]
    conversation.insert(typed("new"), "root")
    assert ids(conversation) == ["new", "3", "4"]

    conversation = conversation_of(typed("a", "x" * 60), typed("b", "y" * 60), max_chars=100)
    assert ids(conversation) == ["b"]
    conversation.insert(Message(id="c", role="user", content=(InputAudio(),)))
    conversation.set_transcript("c", 0, "z" * 200)
    assert ids(conversation) == ["c"]  # nothing is left to forget


def test_requests() -> None:
    conversation, new_id = Conversation(), counting_ids()
    ask = MessageParam(
        role="user", content=(InputText("Hi"), InputAudio(audio=b"1234", transcript="there"))
    )
    kept = Message(
        id="item_1", role="user", content=(InputText("Hi"), InputAudio(transcript="there"))
    )
    assert obey(ItemCreate(item=ask), conversation, new_id) == [
        wire.ItemAdded(item=kept, previous_item_id=None),
        wire.ItemDone(item=kept, previous_item_id=None),
    ]
    assert obey(ItemRetrieve("item_1"), conversation, new_id) == [wire.ItemRetrieved(item=kept)]
    assert obey(ItemDelete("item_1"), conversation, new_id) == [wire.ItemDeleted(item_id="item_1")]
    assert conversation.items == ()


def test_a_client_may_name_its_item() -> None:
    ask = MessageParam(role="assistant", id="mine", status="incomplete", content=())
    events = obey(ItemCreate(item=ask), Conversation(), counting_ids())
    assert events[0] == wire.ItemAdded(
        item=Message(id="mine", role="assistant", status="incomplete"), previous_item_id=None
    )


def test_audio_that_nobody_transcribed_is_refused() -> None:
    ask = MessageParam(role="user", content=(InputAudio(),))
    conversation = Conversation()
    with pytest.raises(ProtocolError) as caught:
        obey(ItemCreate(item=ask), conversation, counting_ids())
    assert caught.value.code == "unsupported_content_type"
    assert conversation.items == ()


SOME_IDS = st.sampled_from(["a", "b", "c", "d", "root"])
SOME_TEXT = st.text(max_size=12)


class ConversationMachine(RuleBasedStateMachine):
    """Any requests in any order, beside a plain list that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation(max_items=4, max_chars=40)
        self.model: list[tuple[str, str]] = []

    @rule(item_id=SOME_IDS, text=SOME_TEXT, after=st.none() | SOME_IDS)
    def insert(self, item_id: str, text: str, after: str | None) -> None:
        known = [name for name, _ in self.model]
        legal = item_id not in known and item_id != "root" and after in [None, "root", *known]
        item = Message(id=item_id, role="assistant", content=(OutputAudio(transcript=text),))
        try:
            previous = self.conversation.insert(item, after)
        except ProtocolError:
            assert not legal
            return
        assert legal
        place = len(known) if after is None else 0 if after == "root" else known.index(after) + 1
        assert previous == (known[place - 1] if place else None)
        self.model.insert(place, (item_id, text))
        self.forget(item_id)

    @rule(item_id=SOME_IDS)
    def delete(self, item_id: str) -> None:
        try:
            self.conversation.delete(item_id)
        except ProtocolError:
            assert item_id not in dict(self.model)
        else:
            del self.model[[name for name, _ in self.model].index(item_id)]

    @rule(item_id=SOME_IDS, heard=SOME_TEXT)
    def truncate(self, item_id: str, heard: str) -> None:
        try:
            self.conversation.truncate(item_id, 0, heard)
        except ProtocolError:
            assert item_id not in dict(self.model)
        else:
            self.model = [(n, heard if n == item_id else t) for n, t in self.model]
            self.forget(item_id)

    def forget(self, keep: str) -> None:
        while len(self.model) > 4 or sum(len(text) for _, text in self.model) > 40:
            self.model.remove(next(entry for entry in self.model if entry[0] != keep))

    @invariant()
    def agrees(self) -> None:
        assert [(item.id, item.text) for item in self.conversation.items] == self.model
        assert self.conversation.last_id == (self.model[-1][0] if self.model else None)
        assert shown(self.conversation) == [("assistant", t) for _, t in self.model if t]


TestAnyOrderOfRequests = ConversationMachine.TestCase
