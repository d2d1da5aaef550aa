"""Carries out what clients ask of the conversation's items; no engine is needed."""

from typing import assert_never

from duplex.protocol import server_events as wire
from duplex.protocol.client_events import ItemCreate, ItemDelete, ItemRetrieve
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import NewId
from duplex.protocol.items import FunctionCallOutputParam, check_words
from duplex.protocol.server_events import ServerEvent


def obey(
    event: ItemCreate | ItemDelete | ItemRetrieve, conversation: Conversation, new_id: NewId
) -> list[ServerEvent]:
    """Carry out ``event`` and return the events to send.

    Raises:
        ProtocolError: it cannot be obeyed; nothing has changed.
    """
    match event:
        case ItemCreate(item=param):
            check_words(param)
            if isinstance(param, FunctionCallOutputParam):
                conversation.check_call(param.call_id)
            item = param.to_item(param.id or new_id("item"))
            return wire.item_created(item, conversation.insert(item, event.previous_item_id))
        case ItemDelete():
            conversation.delete(event.item_id)
            return [wire.ItemDeleted(item_id=event.item_id)]
        case ItemRetrieve():
            return [wire.ItemRetrieved(item=conversation.retrieve(event.item_id))]
        case _:
            assert_never(event)
