"""Whether the model has something to answer that it was not asked to answer yet, and may be asked.

The session answers the caller's words by itself. For keys, and for what a function has returned,
the line has to ask for a reply. It does not ask while another reply is made, while a function has
not returned, or while the caller speaks: then the reply to what they say serves for both.
"""

from duplex.protocol import server_events


class PendingReply:
    """The reply that the line wants from the model. Time is milliseconds of the caller's audio, as
    the session counts them."""

    def __init__(self) -> None:
        self.is_wanted = False
        self.heard_ms = 0.0  # of the caller's audio
        self.running: set[str] = set()  # call ids of functions that have not returned
        self.result_to_say = ""  # of a function that the model has called twice in the same way
        self._called: dict[str, tuple[str, str]] = {}  # functions and arguments, by call id
        self._results: dict[tuple[str, str], str] = {}  # of the same, since the caller spoke
        self._was_asked = False  # whether the model was asked, and has not begun
        self._wanted_since_ms = 0.0
        self._turns: set[str] = set()  # begun, by item, whose words are not known
        self._turn_end_ms = 0  # where the last one ended

    def want(self) -> None:
        """The model has been given something that calls for a reply."""
        self.is_wanted, self._wanted_since_ms = True, self.heard_ms

    def ask(self) -> bool:
        """Whether the model is to be asked now; true only once."""
        if not self.is_wanted or self._was_asked or self.running or self._turns:
            return False
        self._was_asked = True
        return True

    def refused(self) -> None:
        """The model could not begin a reply because it was making one already."""
        self._was_asked, self.is_wanted = False, True

    def begun(self) -> None:
        """The model has begun a reply."""
        self._was_asked = self.is_wanted = False
        self.result_to_say = ""

    @property
    def is_ignored(self) -> bool:
        """Whether a reply that begins now may not know what it is wanted for: a reply to the
        caller's turn may have begun at a pause, before that turn was over."""
        is_its_own = self._was_asked or self.running
        return self.is_wanted and not is_its_own and self._wanted_since_ms >= self._turn_end_ms

    # Functions.

    def function_called(self, call_id: str, name: str, arguments: str) -> str | None:
        """The model calls a function. Returns the result if it has called the same one with the
        same arguments since the caller spoke, as small models do: nothing is done twice, and the
        model is to say the result."""
        known = self._results.get((name, arguments))
        if known is None:
            self.running.add(call_id)
            self._called[call_id] = name, arguments
        else:
            self.result_to_say = known
        return known

    def function_returned(self, call_id: str, result: str) -> None:
        """A function has returned ``result``."""
        self.running.discard(call_id)
        if (call := self._called.pop(call_id, None)) is not None:
            self._results[call] = result

    def forget_results(self) -> None:
        """What the caller says, by voice or keys, may call for the same functions again."""
        self._results.clear()

    # The caller's turns.

    @property
    def is_caller_speaking(self) -> bool:
        """Whether the caller speaks, or has spoken words that are not known yet."""
        return bool(self._turns)

    def turn_began(self, event: server_events.SpeechStarted) -> None:
        """The caller speaks."""
        self._turns.add(event.item_id)
        self.forget_results()

    def turn_ended(self, event: server_events.SpeechStopped) -> None:
        """The caller is silent."""
        self._turn_end_ms = event.audio_end_ms

    def turn_known(self, item_id: str) -> None:
        """What the caller said is known."""
        self._turns.discard(item_id)
