"""Exceptions of voices."""


class VoiceError(Exception):
    """A voice failed at a request. The call goes on; the message is shown to the caller."""
