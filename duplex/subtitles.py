"""What subtitles are made of, of recordings and of uploads."""


def clock(seconds: float, mark: str = ".") -> str:
    """A time in them: hours, minutes, seconds, and after ``mark`` milliseconds."""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{mark}{ms % 1000:03}"


def cue_text(text: str) -> str:
    """Text in a WebVTT cue: no tags, and no arrow."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
