"""Word lists, written as text."""


def words(text: str) -> tuple[str, ...]:
    """The words of ``text``, which spaces and line ends separate."""
    return tuple(text.split())
