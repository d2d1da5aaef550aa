"""An open server for realtime speech conversation, as a library.

    from duplex import Server
    Server().run()

A brain, an ear, a voice, a voice activity detector or a whole engine of your own is a class with
the methods of `Brain`, `Ear`, `Voice`, `Vad` or `Engine`; pass it to `Server`, or name it in the
configuration as a plug-in. `duplex.testing` tests a bot without models, in virtual time.

The names below are the public ones. Importing `duplex` loads none of them: each is imported when
it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duplex.app.asgi import AsgiApp
    from duplex.app.embed import Running, Server
    from duplex.config import Config, load_config
    from duplex.dialogue.interfaces import Engine, EngineSession
    from duplex.errors import ConfigError, DuplexError, ModelError
    from duplex.turns.interfaces import Vad, VadStream
    from duplex.turns.vad import VadFrame
    from engine.brain.interface import Brain, BrainError, BrainSession
    from engine.ear.interface import Ear
    from engine.errors import ContextExceeded, EngineError
    from engine.types import (
        CallArguments,
        CallEnded,
        CallRule,
        CallStarted,
        Finished,
        GenerationOptions,
        Message,
        Speech,
        Thought,
        Tool,
        ToolCall,
        ToolResult,
        Transcript,
    )
    from tts.types import AudioChunk, SpokenWord, TextUtterance, TextVoice, Utterance, Voice

_HOMES = {
    "duplex.app.asgi": ("AsgiApp",),
    "duplex.app.embed": ("Running", "Server"),
    "duplex.config": ("Config", "load_config"),
    "duplex.dialogue.interfaces": ("Engine", "EngineSession"),
    "duplex.errors": ("ConfigError", "DuplexError", "ModelError"),
    "duplex.turns.interfaces": ("Vad", "VadStream"),
    "duplex.turns.vad": ("VadFrame",),
    "engine.brain.interface": ("Brain", "BrainError", "BrainSession"),
    "engine.ear.interface": ("Ear",),
    "engine.errors": ("ContextExceeded", "EngineError"),
    "engine.types": (
        "CallArguments",
        "CallEnded",
        "CallRule",
        "CallStarted",
        "Finished",
        "GenerationOptions",
        "Message",
        "Speech",
        "Thought",
        "Tool",
        "ToolCall",
        "ToolResult",
        "Transcript",
    ),
    "tts.types": (
        "AudioChunk",
        "SpokenWord",
        "TextUtterance",
        "TextVoice",
        "Utterance",
        "Voice",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AsgiApp",
    "AudioChunk",
    "Brain",
    "BrainError",
    "BrainSession",
    "CallArguments",
    "CallEnded",
    "CallRule",
    "CallStarted",
    "Config",
    "ConfigError",
    "ContextExceeded",
    "DuplexError",
    "Ear",
    "Engine",
    "EngineError",
    "EngineSession",
    "Finished",
    "GenerationOptions",
    "Message",
    "ModelError",
    "Running",
    "Server",
    "Speech",
    "SpokenWord",
    "TextUtterance",
    "TextVoice",
    "Thought",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Transcript",
    "Utterance",
    "Vad",
    "VadFrame",
    "VadStream",
    "Voice",
    "load_config",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
