"""What a chat endpoint is asked, as the model behind it wants it (`ChatShape`). No IO."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from engine.brain.chat_shape import ChatShape
from engine.brain.clips import ClippedSound
from engine.brain.context_window import kept_messages, reserved_for_answer
from engine.features import SAMPLE_RATE_HZ
from engine.types import CallRule, GenerationOptions, Message

# The endpoint's tokenizer is not known here. Three UTF-8 bytes a token and eight tokens for the
# markup overestimate English; where they do not, the endpoint answers with an error of its own.
_BYTES_PER_TOKEN, _MARKUP_TOKENS = 3, 8
_NO_RESULT_YET = "There is no result yet."

JSON = dict[str, Any]


class Requests:
    """Writes the requests of one model."""

    def __init__(self, model: str, shape: ChatShape, context_tokens: int) -> None:
        self.shape = shape
        self._model = model
        self._context_tokens = context_tokens

    def answer(self, messages: Sequence[Message], options: GenerationOptions) -> JSON:
        """Ask for the answer to ``messages``, streamed.

        Raises:
            ContextExceeded: the last turn alone is too long for the context.
        """
        shape, thinks = self.shape, options.think_tokens > 0
        start = shape.start(thinks=thinks)
        began: list[JSON] = []
        if start:
            role = shape.roles.get("assistant", "assistant")
            began = [{"role": role, "content": start, **shape.start_message}]
        return {
            **self._common(messages, options.calls, began),
            shape.limit: options.max_tokens + options.think_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            **_set(temperature=shape.temperature, top_p=shape.top_p),
            **(shape.start_body if start else {}),
            **shape.body,
        }

    def ahead(self, messages: Sequence[Message], partial: str | ClippedSound | None) -> JSON:
        """Have ``messages`` read, and the beginning of an open turn, before its answer is asked
        for: a request for one token, which nobody reads. What `answer` asks later begins with it.

        Raises:
            ContextExceeded: as `answer`.
        """
        opened: list[Message] = []
        if isinstance(partial, ClippedSound):
            opened = [Message("user", "", partial)] if partial.clips else []
        elif partial:
            opened = [Message("user", partial)]
        return {
            **self._common([*messages, *opened], CallRule()),
            **self.shape.body,
            self.shape.limit: 1,
            "stream": True,  # some have no other
        }

    def _common(
        self, messages: Sequence[Message], rule: CallRule, began: Sequence[JSON] = ()
    ) -> JSON:
        shown = self._shown(forget_old_sound(messages, self.shape.sound_turns))
        return {
            "model": self._model,
            "messages": [*_wire(shown, self.shape), *began],
            **_offer(messages, rule),
        }

    def _shown(self, messages: Sequence[Message]) -> list[Message]:
        lengths = [self._tokens(message) for message in messages]
        limit = self._context_tokens - reserved_for_answer(self._context_tokens)
        system, first = kept_messages(messages, lengths, limit)
        return [*messages[:system], *messages[first:]]

    def _tokens(self, message: Message) -> int:
        tokens = sum(len(text.encode()) for text in message.texts) // _BYTES_PER_TOKEN
        if isinstance(message.sound, ClippedSound):
            seconds = message.sound.samples / SAMPLE_RATE_HZ
            tokens += round(seconds * self.shape.sound_tokens_per_s)
        return tokens + _MARKUP_TOKENS


def encoded(request: JSON) -> bytes:
    """``request`` as JSON. With minutes of sound in it this is several times as fast as `json`,
    which still writes what cannot be UTF-8, such as half of an emoji in a tool's schema."""
    try:
        return msgspec.json.encode(request)
    except UnicodeEncodeError:
        return json.dumps(request).encode()


def forget_old_sound(messages: Sequence[Message], most: int) -> Sequence[Message]:
    """Free the sound of all but the last turns, ``most`` at the most. The count falls by half of
    them at a time: where words take the place of sound, the endpoint's cache ends."""
    sounds = [m.sound for m in messages if isinstance(m.sound, ClippedSound)]
    step = max(1, most // 2)
    over = -(-max(0, len(sounds) - most) // step) * step
    for sound in sounds[:over]:
        sound.forget()
    return messages


def _set(**values: Any) -> JSON:
    return {key: value for key, value in values.items() if value is not None}


def _offer(messages: Sequence[Message], rule: CallRule) -> JSON:
    """The fields of the request that offer functions. There are none without functions, because
    endpoints refuse an empty list."""
    tools = [tool.schema() for message in messages for tool in message.tools]
    if not tools:
        return {}
    choice: Any = "required" if rule.must else "auto"
    if not rule.may:
        choice = "none"
    elif rule.name is not None:
        choice = {"type": "function", "function": {"name": rule.name}}
    offer = {"tools": tools, "tool_choice": choice}
    return offer if rule.many else {**offer, "parallel_tool_calls": False}


def _wire(messages: Sequence[Message], shape: ChatShape) -> list[JSON]:
    """The conversation in the protocol's form, with the names that the model has for roles."""
    wire = list(_written(messages, shape))
    return [{**each, "role": shape.roles.get(each["role"], each["role"])} for each in wire]


def _written(messages: Sequence[Message], shape: ChatShape) -> Iterator[JSON]:
    """The conversation, in which the result of each call follows it at once.

    A result that came later, after other messages, becomes a system message at its place.
    """
    for index, message in enumerate(messages):
        if message.calls:
            following = messages[index + 1] if index + 1 < len(messages) else None
            results = following.results if following is not None else ()
            yield from _calls(message, {result.call_id: result.output for result in results})
        elif message.results:
            asked = messages[index - 1].calls if index else ()
            answered = {call.call_id for call in asked}
            for result in message.results:
                if result.call_id not in answered:
                    text = f"{result.name} has returned: {result.output}"
                    yield {"role": "system", "content": text}
        else:
            yield {"role": message.role, "content": _content(message, shape)}


def _content(message: Message, shape: ChatShape) -> str | list[JSON]:
    clips = message.sound.clips if isinstance(message.sound, ClippedSound) else ()
    if not clips:
        return message.text
    sound = [shape.part(clip.wav) for clip in clips]
    if shape.order == "sound" or not message.text:
        return sound
    words = {"type": "text", "text": message.text}
    return [*sound, words] if shape.order == "sound_text" else [words, *sound]


def _calls(message: Message, outputs: Mapping[str, str]) -> list[JSON]:
    calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in message.calls
    ]
    said = {"role": "assistant", "content": message.text or None, "tool_calls": calls}
    results = [
        {
            "role": "tool",
            "tool_call_id": call.call_id,
            "content": outputs.get(call.call_id, _NO_RESULT_YET),
        }
        for call in message.calls
    ]
    return [said, *results]
