"""One tree of errors: all that the server raises on purpose is a `DuplexError`.

What a model raises is an `engine.errors.EngineError`.
"""


class DuplexError(Exception):
    """Base of all errors that this project raises on purpose, outside the engine."""


class ConfigError(DuplexError):
    """The configuration cannot be used; the message names the key."""


class ModelError(DuplexError):
    """A model is missing, incomplete or does not match its sha256; the message says what to do."""


class ProtocolError(DuplexError):
    """A message from the client cannot be obeyed; the call goes on.

    ``code`` and ``param`` are sent to the client as they are; ``event_id`` is the client's.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        event_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.event_id = event_id


class EngineLost(DuplexError):
    """The engine can answer nothing any more, as when its device is gone; the process has to end,
    and whoever supervises it to start another."""


class ResumeError(DuplexError):
    """A dropped call cannot be taken up again; the message says why."""


class CallOverrun(DuplexError):
    """A bounded queue of a call is full; the call is closed with a message that says so."""


class IllegalTransition(DuplexError):
    """The floor was asked for a move that its table does not hold; nothing changed."""
