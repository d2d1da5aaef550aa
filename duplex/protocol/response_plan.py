"""The plan of one response: the session's configuration with the response's own on top."""

from dataclasses import dataclass, replace

from duplex.protocol.client_events import ResponseParams, VoiceId
from duplex.protocol.conversation import Conversation
from duplex.protocol.items import Item
from duplex.protocol.response_input import resolve_input
from duplex.protocol.session_config import AudioFormat, MaxTokens, Modality, SessionConfig
from duplex.protocol.tools import FunctionTool, NamedFunction, check_choice

# Asked whether somebody is still there, the smallest models say that they are.
_CALLER_IS_SILENT = (
    "The caller has been silent for a while and may be gone. Offer them your help again, in a few "
    "words."
)
_GO_ON = (
    "Your last answer was cut short. Go on with it from where it ended, without repeating any of "
    "it."
)


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """Settings of one response. ``metadata`` is the client's and goes back to it unchanged.

    ``note`` is what the system says after the conversation, for this response only. It stands
    last and not in the instructions, because those come first: with others the model would have
    to read the whole conversation again. And models expect that somebody has spoken since their
    own last words.
    """

    modality: Modality
    instructions: str
    max_output_tokens: MaxTokens
    audio_format: AudioFormat
    voice: str
    speed: float
    metadata: dict[str, str] | None
    thoughts: bool
    tools: tuple[FunctionTool, ...] = ()  # empty if the model may not call any
    must_call: bool = False  # call one of ``tools``
    must_after_result: bool = False  # also to a call's result: this response asked for it itself
    call_name: str | None = None  # the one that it must call
    parallel_calls: bool = True
    in_conversation: bool = True
    input: tuple[Item, ...] | None = None  # None: the conversation
    note: str = ""

    def sounds_like(self, other: "ResponsePlan") -> bool:
        """Whether a response by one plan can continue one by the other in the same voice."""
        mine = (self.modality, self.audio_format, self.voice)
        return mine == (other.modality, other.audio_format, other.voice)


def plan_response(
    config: SessionConfig,
    params: ResponseParams | None = None,
    conversation: Conversation | None = None,
) -> ResponsePlan:
    """Return the plan for a response to the current turn, or to ``params.input``, which may
    refer to items of the ``conversation``.

    Raises:
        ProtocolError: ``params`` refer to what is not there.
    """
    own = params or ResponseParams()
    tools = config.tools if own.tools is None else own.tools
    choice = own.tool_choice or config.tool_choice
    check_choice(own.tool_choice, tools)
    # The session's choice may name a function that is not there, or not in this response.
    named = choice.name if isinstance(choice, NamedFunction) else None
    name = named if named in {tool.name for tool in tools} else None
    parallel = own.parallel_tool_calls
    if parallel is None:
        parallel = config.parallel_tool_calls is not False
    context = None
    if own.input is not None:
        context = resolve_input(own.input, conversation or Conversation())
    sound = config.audio.output
    asked = own.audio.output if own.audio else None
    voice = (asked.voice if asked else None) or sound.voice
    return ResponsePlan(
        modality=(own.output_modalities or config.output_modalities)[0],
        instructions=config.instructions if own.instructions is None else own.instructions,
        max_output_tokens=own.max_output_tokens or config.max_output_tokens,
        audio_format=(asked.format if asked else None) or sound.format,
        voice=voice.id if isinstance(voice, VoiceId) else voice,
        speed=sound.speed,
        metadata=own.metadata,
        thoughts=config.duplex.thoughts,
        tools=() if choice == "none" else tools,
        must_call=name is not None or (choice == "required" and bool(tools)),
        must_after_result=own.tool_choice is not None,
        call_name=name,
        parallel_calls=parallel,
        in_conversation=own.conversation != "none",
        input=context,
    )


def plan_continuation(config: SessionConfig) -> ResponsePlan:
    """Return the plan for more of a response that reached its token limit."""
    return replace(plan_response(config), note=_GO_ON)


def plan_prompt(config: SessionConfig) -> ResponsePlan:
    """Return the plan for words to a caller who says nothing; it calls no function."""
    plan = plan_response(config)
    return replace(plan, note=_CALLER_IS_SILENT, must_call=False, call_name=None)
