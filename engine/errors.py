"""What the engine raises on purpose."""


class EngineError(Exception):
    """A model could not do what it was asked; the call it happened in goes on. The message is
    for the caller to read."""


class ContextExceeded(EngineError, ValueError):
    """What has to be shown to the model is longer than its context."""
