"""How families of models behind chat endpoints want to be asked. Data only: what differs from one
to the next is a field here, so that another model is another entry.

Sources: Step-Audio-R1's own client (stepfun-ai/Step-Audio-R1, stepaudior1vllm.py and
examples-vllm_r1.py), vLLM's multimodal inputs, the audio guide of OpenAI's API, the pages of
Mistral's audio API and of Alibaba's Qwen-Omni.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

WAV = "{wav}"  # in a part: where the recording stands, in base64

Order = Literal["sound", "sound_text", "text_sound"]

_INPUT_AUDIO = {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
_CONTINUED = {"continue_final_message": True, "add_generation_prompt": False}


@dataclass(frozen=True, slots=True)
class ChatShape:
    """The form of a request, for brains that hear and for those that read.

    ``roles`` are its names for ours. ``order`` says what stands for a turn that is sent as sound:
    the sound alone, or also its words, after or before it. ``sound_turns`` is the most turns that
    are; older ones are words. ``piece_s`` is the longest piece of sound, 0: 25 s, or 5 s where
    pieces go ahead. ``sound_part`` is the form of one, `WAV` stands for it, and a second of it
    takes about ``sound_tokens_per_s`` of the context.

    ``thinking`` and ``not_thinking`` are what an answer begins with, if it is to think and if not;
    "": nothing. Such a beginning is sent as a message with ``start_message`` besides, and
    ``start_body`` in the request. ``opens_thought``: the model's own template opens the thoughts,
    so that text before ``</think>`` is one.

    ``thoughts`` are names of fields for reasoning besides the usual. ``limit`` is the field for the
    most tokens. ``temperature`` and ``top_p`` are not sent if they are None. ``body`` and
    ``headers`` go along with each request.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    order: Order = "sound"
    sound_turns: int = 4
    piece_s: float = 0.0
    sound_part: Mapping[str, Any] = field(default_factory=lambda: _INPUT_AUDIO)
    sound_tokens_per_s: float = 25.0
    thinking: str = ""
    not_thinking: str = ""
    start_message: Mapping[str, Any] = field(default_factory=dict)
    start_body: Mapping[str, Any] = field(default_factory=lambda: _CONTINUED)
    opens_thought: bool = False
    thoughts: tuple[str, ...] = ()
    limit: str = "max_tokens"
    temperature: float | None = None
    top_p: float | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def start(self, *, thinks: bool) -> str:
        """What an answer begins with."""
        return self.thinking if thinks else self.not_thinking

    def begins_in_thought(self, *, thinks: bool) -> bool:
        """Whether the text of an answer is a thought up to ``</think>``."""
        return self.opens_thought or _is_open(self.start(thinks=thinks))

    def part(self, wav: str) -> dict[str, Any]:
        """The part of a message that is a recording, a WAV file in base64."""
        part: dict[str, Any] = _filled(self.sound_part, wav)
        return part


PRESETS: dict[str, ChatShape] = {
    "": ChatShape(),
    # StepFun's image of vLLM. Its client never leaves the beginning of an answer to the template.
    "step-audio-r1": ChatShape(
        roles={"user": "human"},
        sound_tokens_per_s=12.5,
        thinking="<think>\n",
        not_thinking="<think>\n\n</think>\n",
        start_message={"eot": False},
        temperature=0.7,
        body={
            "skip_special_tokens": False,
            "stop_token_ids": [151665],
            "repetition_penalty": 1.0,
        },
    ),
    # Qwen2.5-Omni and Qwen3-Omni on vLLM: words only, no talker.
    "qwen-omni": ChatShape(body={"modalities": ["text"]}),
    # The same at Alibaba's, where a recording is a data URL.
    "qwen-omni-dashscope": ChatShape(
        sound_part={
            "type": "input_audio",
            "input_audio": {"data": f"data:;base64,{WAV}", "format": "wav"},
        },
        body={"modalities": ["text"]},
    ),
    "voxtral": ChatShape(sound_tokens_per_s=12.5, temperature=0.2, top_p=0.95),
    # At Mistral's, where the recording itself stands for its description.
    "voxtral-mistral": ChatShape(
        sound_part={"type": "input_audio", "input_audio": WAV}, sound_tokens_per_s=12.5
    ),
    "ultravox": ChatShape(sound_tokens_per_s=6.25),
    "gpt-audio": ChatShape(
        sound_tokens_per_s=10.0, limit="max_completion_tokens", body={"modalities": ["text"]}
    ),
}


def _is_open(start: str) -> bool:
    return start.count("<think>") > start.count("</think>")


def _filled(form: Any, wav: str) -> Any:
    if isinstance(form, str):
        return form.replace(WAV, wav)
    if isinstance(form, Mapping):
        return {key: _filled(value, wav) for key, value in form.items()}
    return [_filled(value, wav) for value in form] if isinstance(form, list | tuple) else form
