"""Parts of files, as players ask for them (RFC 9110, 14). Pure."""

import re

MAX_OPEN_BYTES = 1024 * 1024  # of an answer to "from here on"; a player asks again for more
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def wanted_range(header: str | None, size: int) -> range | None:
    """Return the bytes that a Range header asks for, None for the whole file. What is no single
    range of bytes is ignored.

    Raises:
        ValueError: the file has no such bytes.
    """
    match = None if header is None else _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start = int(first)
        stop = min(size, int(last) + 1 if last else start + MAX_OPEN_BYTES)
    if start >= stop:
        raise ValueError(f"the file has {size} bytes")
    return range(start, stop)
