"""The pause after a segment, by the mark it ends with."""

_PAUSE_MS = {".": 280, "!": 280, "?": 280, "…": 280, ":": 200, ";": 200, ",": 120}
_NO_PAUSE_MS = 20


def pause_ms(text: str) -> int:
    """The pause after ``text`` in ms, at the natural rate."""
    bare = text.rstrip("\"'”’)]*_ \n")
    return _PAUSE_MS.get(bare[-1:], _NO_PAUSE_MS)
