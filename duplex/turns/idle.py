"""When to prompt a caller who says nothing after a reply. Pure, in sample time."""

from duplex.turns.vad import SAMPLE_RATE

MAX_PROMPTS = 3  # in a row, to a caller who answers none of them


class IdleTimeout:
    """The wait for the caller to speak after a reply. It runs out at most once after each reply."""

    def __init__(self) -> None:
        self._prompts = 0  # since the caller spoke
        self._heard_id: str | None = None  # the response that the caller was to answer last
        self._from_sample: int | None = None  # where the wait began; None: nothing is waited for

    def hear(self, now_sample: int, limit_ms: int | None, heard_id: str | None) -> int | None:
        """Note another frame without speech, which ends at ``now_sample``. ``heard_id`` is the
        response that was played and that the caller is to answer; None if it is not for them to
        speak. ``limit_ms`` None: they are waited for as long as they like.

        Returns:
            Where the wait began, if it has run out.
        """
        if heard_id is None or limit_ms is None:
            self._from_sample = None
            return None
        if heard_id != self._heard_id:
            self._heard_id, self._from_sample = heard_id, now_sample
        if self._from_sample is None or self._prompts == MAX_PROMPTS:
            return None
        began = self._from_sample
        if (now_sample - began) * 1000 < limit_ms * SAMPLE_RATE:
            return None
        self._prompts += 1
        self._from_sample = None
        return began

    def restart(self, now_sample: int) -> None:
        """The audio before is forgotten: a wait begins anew."""
        if self._from_sample is not None:
            self._from_sample = now_sample

    def caller_spoke(self) -> None:
        """What was waited for has come."""
        self._prompts = 0
        self._from_sample = None
