"""What the caller is to hear: the audio of replies, and announcements, on its way to the line."""

from collections.abc import Sequence

from duplex.phone.events import Encoding
from duplex.phone.line.actions import Action, Announced, AnnouncementCut, Clear, SendEvent
from duplex.phone.line.announcement import Announcement
from duplex.phone.line.playout import Cut, Playout
from duplex.phone.line.sound import to_line
from duplex.protocol.client_events import ItemTruncate
from duplex.protocol.session_config import AudioFormat
from tts.types import SpokenWord


class OutgoingAudio:
    """Of one call. Time is monotonic seconds, passed by the caller."""

    def __init__(
        self, encoding: Encoding, audio_format: AudioFormat, frame_ms: int, *, has_marks: bool
    ) -> None:
        self._encoding = encoding
        self._to_line = to_line(encoding, audio_format)
        self._announcement = Announcement(encoding)
        self.playout = Playout(encoding, frame_ms, has_marks=has_marks)

    # Replies, in the session's format.

    def play(self, item_id: str, audio: bytes) -> None:
        """Play more of a reply's item, behind what waits."""
        self.playout.put(item_id, self._to_line.convert(audio))

    def item_done(self, item_id: str) -> None:
        """No more comes of that item."""
        self.playout.put(item_id, self._to_line.flush())
        self.playout.finish()

    def reply_done(self) -> None:
        """No more comes of the reply; the rest of an item that was not done is left out."""
        self._to_line.flush()
        self.playout.finish()

    # Announcements, in the line's encoding.

    def begin_announcement(self) -> None:
        """What `announce` is given next is another announcement, in place of the one before."""
        self._announcement.begin()

    def announce(self, audio: bytes, words: Sequence[SpokenWord], *, is_last: bool) -> list[Action]:
        """Play the next part of an announcement, with words that end at samples of it."""
        part = self._announcement.feed(audio, words)
        actions = self._play_announced(part)
        if not is_last:
            return actions
        self.playout.finish()
        return [*actions, *map(SendEvent, self._announcement.finish())]

    def drop_announcement(self) -> None:
        """Play nothing more of the announcement."""
        self._announcement.drop()

    # The caller's interruptions.

    def clear(self, now_s: float, *, hold: bool = False) -> list[Action]:
        """Play nothing more of all that is there. With ``hold`` an announcement may go on after
        `interruption_meant_nothing`."""
        announced = self._announcement.item_id
        is_playing = self.playout.is_playing(now_s)
        cuts = self.playout.clear(now_s) if is_playing else []
        if self._announcement.is_awaited and all(cut.item_id != announced for cut in cuts):
            cuts.append(Cut(announced, self._announcement.samples))  # more of it was to come
        actions: list[Action] = [Clear()] if is_playing else []
        for cut in cuts:
            if cut.item_id == announced:
                words = self._announcement.heard(cut.heard_samples)
                actions.append(AnnouncementCut(announced, cut.heard_samples, words))
                actions += map(SendEvent, self._announcement.cut(cut.heard_samples, hold=hold))
            else:
                heard_ms = cut.heard_samples * 1000 // self._encoding.rate_hz
                actions.append(heard_only(cut.item_id, heard_ms))
        self._to_line.flush()
        return actions

    def interruption_meant_something(self) -> None:
        """The caller's sound had words: the rest of a held announcement is not played."""
        self._announcement.drop_held()

    def interruption_meant_nothing(self) -> list[Action]:
        """The caller's sound had no words: play the rest of a held announcement."""
        rest, events = self._announcement.resume()
        actions = self._play_announced(rest)
        if rest and self._announcement.is_made:
            self.playout.finish()
        return [*actions, *map(SendEvent, events)]

    def _play_announced(self, audio: bytes) -> list[Action]:
        if not audio:
            return []
        item_id = self._announcement.item_id
        self.playout.put(item_id, audio)
        return [Announced(item_id, audio)]


def heard_only(item_id: str, heard_ms: int) -> SendEvent:
    """Return the event that cuts an item to what the caller heard of it."""
    return SendEvent(ItemTruncate(item_id=item_id, content_index=0, audio_end_ms=heard_ms))
