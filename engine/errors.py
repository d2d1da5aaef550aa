"""Exceptions of the engine."""


class EngineError(Exception):
    """A model failed at a request. The call goes on; the message is shown to the caller."""


class ContextExceeded(EngineError, ValueError):
    """The instructions and the last turn are longer than the model's context."""
