"""Answers that somebody else collected: only to be scored."""

from pathlib import Path

import msgspec

from client.evaluation.items import Answer, Item
from client.evaluation.scorers import split_thought
from client.evaluation.targets.target import Rendered


class _Line(msgspec.Struct, frozen=True):
    """One answer. Without ``condition`` it is for the item of that id in any condition."""

    id: str
    answer: str
    condition: str | None = None
    thought: str = ""


class AnswersFile:
    """A file with one JSON object a line: id, answer, and if wanted condition and thought."""

    def __init__(self, path: Path) -> None:
        """Raises:
        ValueError: a line is none such; the message names it.
        OSError: the file cannot be read.
        """
        self._known: dict[tuple[str, str | None], _Line] = {}
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if not line.strip():
                continue
            try:
                found = msgspec.json.decode(line, type=_Line)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            self._known[found.id, found.condition] = found

    async def ask(self, item: Item, sounds: Rendered) -> Answer:
        """See `Target`."""
        found = self._known.get(item.key) or self._known.get((item.id, None))
        if found is None:
            return Answer(error=f"the file has no answer to {item.id} ({item.condition})")
        thought, text = split_thought(found.answer)
        return Answer(text=text, thought=found.thought or thought)
