"""The caller's words as a client is shown them: deltas while they are said, then the transcript."""

from duplex.protocol.server_events import ServerEvent, TranscriptionDelta

_MOST_TURNS = 16  # whose transcripts are awaited; the oldest were discarded by the client


class ShownWords:
    """What of the words of a call's turns was sent as deltas.

    A client cannot take a delta back. So only words that go on from those before are sent, and
    the last delta of a turn is what its transcript has beyond them. The deltas then add up to
    the transcript, unless the ear has changed its mind about a word that was sent.
    """

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}  # by item; an entry goes when its transcript is complete

    def show(self, item_id: str, words: str) -> list[ServerEvent]:
        """The delta for ``words``, which are all so far; none if nothing is new or the words do
        not go on from what was sent."""
        shown = self._shown.get(item_id, "")
        if len(words) <= len(shown) or not words.startswith(shown):
            return []
        self._shown[item_id] = words
        if len(self._shown) > _MOST_TURNS:
            del self._shown[next(iter(self._shown))]
        return [TranscriptionDelta(item_id=item_id, delta=words[len(shown) :])]

    def complete(self, item_id: str, transcript: str) -> tuple[list[ServerEvent], bool]:
        """The last delta, if one is due, and whether the deltas add up to ``transcript``."""
        last = self.show(item_id, transcript)
        return last, self._shown.pop(item_id, "") == transcript
