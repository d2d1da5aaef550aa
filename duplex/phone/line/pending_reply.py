"""Whether the model owes the caller an answer that nobody has asked it for yet, and may be asked.

To the caller's words the session makes an answer by itself. To keys, and to what a function has
told, the line has to ask for one: not while another is made or a function's result is missing, nor
over the caller's voice. The answer to what they say then serves for both.
"""

from duplex.protocol import server_events as told


class Debt:
    """Time is milliseconds of the caller's audio, as the session counts them."""

    def __init__(self) -> None:
        self.is_owed = False
        self.passed_ms = 0.0  # of the caller's audio
        self.calling: set[str] = set()  # functions that have not given their result
        self.to_tell = ""  # what the caller is to be told, if the model only calls and calls
        self._called: dict[str, tuple[str, str]] = {}  # functions and arguments, by call id
        self._results: dict[tuple[str, str], str] = {}  # of the same, since the caller spoke
        self._has_asked = False  # whether the model was asked, and has not begun
        self._since_ms = 0.0  # when it came to owe the answer
        self._turns: set[str] = set()  # begun, by item, and the words are not known
        self._turn_end_ms = 0  # where the last one ended

    def incur(self) -> None:
        """The model is told something that calls for an answer."""
        self.is_owed, self._since_ms = True, self.passed_ms

    def ask(self) -> bool:
        """Whether the model is to be asked now; true only once."""
        if not self.is_owed or self._has_asked or self.calling or self._turns:
            return False
        self._has_asked = True
        return True

    def refused(self) -> None:
        """It could not answer because it was at it already."""
        self._has_asked, self.is_owed = False, True

    def pay(self) -> None:
        """It has begun to answer."""
        self._has_asked = self.is_owed = False
        self.to_tell = ""

    def call(self, call_id: str, name: str, arguments: str) -> str | None:
        """A function is called. Returns its result if it was called just so since the caller
        spoke, as small models do: nothing is done twice, and they are to say it."""
        known = self._results.get((name, arguments))
        if known is None:
            self.calling.add(call_id)
            self._called[call_id] = name, arguments
        else:
            self.to_tell = known
        return known

    def returned(self, call_id: str, result: str) -> None:
        """A function has given its result."""
        self.calling.discard(call_id)
        if (call := self._called.pop(call_id, None)) is not None:
            self._results[call] = result

    @property
    def is_missed(self) -> bool:
        """Whether an answer that begins now may not know what is owed one: if it is that to the
        caller's turn, it was begun at a pause, before the turn was over."""
        is_its_own = self._has_asked or self.calling
        return self.is_owed and not is_its_own and self._since_ms >= self._turn_end_ms

    # The caller's turns.

    @property
    def is_caller_speaking(self) -> bool:
        """Or has spoken, and what they said is not known."""
        return bool(self._turns)

    def turn_began(self, event: told.SpeechStarted) -> None:
        """The caller speaks."""
        self._turns.add(event.item_id)
        self.forget_results()

    def forget_results(self) -> None:
        """What the caller says, by voice or keys, may call for the same functions again."""
        self._results.clear()

    def turn_ended(self, event: told.SpeechStopped) -> None:
        """The caller is silent."""
        self._turn_end_ms = event.audio_end_ms

    def turn_known(self, item_id: str) -> None:
        """What the caller said is known."""
        self._turns.discard(item_id)
