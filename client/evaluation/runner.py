"""Asks a target all questions of a set, several at a time, and keeps every answer at once.

A run that was killed goes on where it was: what has an answer is not asked again; what failed is.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import json, structs

from client.evaluation.items import (
    RATE_HZ,
    Answer,
    Item,
    Record,
    Sound,
    read_records,
    sound_hash,
    write_records,
)
from client.evaluation.targets.target import Rendered, Target
from client.realtime import ClientError
from duplex.audio.files import write_wav

ANSWERS = "answers.jsonl"
SPEECH = "speech"  # the folder of answers as sound
Tell = Callable[[str], None]
Listen = Callable[[Path], str]  # a sound file -> its words


@dataclass(frozen=True, slots=True)
class RunOptions:
    """``parallel`` questions are open at a time. ``failures`` in a row end the run: then it is
    not the questions."""

    parallel: int = 1
    failures: int = 5


class Aborted(ClientError):
    """The run ended before its end; what was answered is kept."""


async def run(
    items: Sequence[Item],
    target: Target,
    folder: Path,
    options: RunOptions,
    tell: Tell,
) -> list[Record]:
    """Ask what has no answer in ``folder`` yet; returns all records of ``items``, in their order.

    Raises:
        Aborted: the target is gone, or fails again and again.
        ValueError: the folder's records cannot be read, or are of another set.
        OSError: they cannot be written; ``folder`` must be there.
    """
    path = folder / ANSWERS
    known = {record.key: record for record in read_records(path)}
    write_records(path, known.values())  # a line that was broken off must not be written on
    todo = [item for item in items if not _is_answered(known.get(item.key), item)]
    if len(todo) < len(items):
        tell(f"{len(items) - len(todo)} of {len(items)} were answered before")
    state = _Run(todo, target, folder, options, tell, known)
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(options.parallel, len(todo))):
                workers.create_task(state.work())
    except* ClientError as errors:
        first = errors.exceptions[0]
        raise Aborted(str(first)) from first
    return [known[item.key] for item in items]


def _is_answered(record: Record | None, item: Item) -> bool:
    """Raises:
    ValueError: it is an answer to another question of that name.
    """
    if record is None or record.error is not None:
        return False
    if record.gold != dict(item.gold):
        raise ValueError(
            f"the folder has another question {item.id}: was it made with another --seed or set?"
        )
    return True


class _Run:
    """One run's state: what is left to ask, and what is known."""

    def __init__(
        self,
        todo: Sequence[Item],
        target: Target,
        folder: Path,
        options: RunOptions,
        tell: Tell,
        known: dict[tuple[str, str], Record],
    ) -> None:
        self._todo = iter(todo)
        self._count = len(todo)
        self._target = target
        self._folder = folder
        self._options = options
        self._tell = tell
        self._known = known
        self._done = 0
        self._failures = 0  # in a row

    async def work(self) -> None:
        """Take one question after the other until there is none."""
        for item in self._todo:
            rendered, prompt = await asyncio.to_thread(_render, item)
            answer = await self._target.ask(item, rendered)
            self._keep(_record(item, prompt, answer, self._folder))
            if answer.error is None:
                self._failures = 0
                continue
            self._failures += 1
            self._tell(f"{item.id} ({item.condition}): {answer.error}")
            if self._failures >= self._options.failures:
                raise Aborted(f"{self._failures} failed in a row, the last with: {answer.error}")

    def _keep(self, record: Record) -> None:
        keep(self._folder, [record])
        self._known[record.key] = record
        self._done += 1
        step = max(1, self._count // 20)  # about twenty lines a run
        if self._done % step == 0 or self._done == self._count:
            self._tell(f"{self._done} of {self._count} answered")


def keep(folder: Path, records: Sequence[Record]) -> None:
    """Write records behind those of a run; of two of one question the later one counts.

    Raises:
        OSError: they cannot be written.
    """
    with (folder / ANSWERS).open("ab") as file:
        file.write(b"".join(json.encode(record) + b"\n" for record in records))


def _render(item: Item) -> tuple[Rendered, list[str]]:
    """The item's sounds, and the prompt as the record shows it."""
    rendered: Rendered = {}
    prompt: list[str] = []
    for index, part in enumerate(item.parts):
        if isinstance(part, Sound):
            rendered[index] = part.render()
            length_s = len(rendered[index]) / RATE_HZ
            words = f": {part.words}" if part.words else ""
            prompt.append(f"[sound, {length_s:.1f} s, {sound_hash(rendered[index])[:16]}{words}]")
        else:
            prompt.append(part)
    return rendered, prompt


def _record(item: Item, prompt: list[str], answer: Answer, folder: Path) -> Record:
    speech = None
    if answer.samples is not None and len(answer.samples):
        speech = f"{SPEECH}/{_file_name(item)}.wav"
        (folder / SPEECH).mkdir(exist_ok=True)
        write_wav(folder / speech, answer.samples, RATE_HZ)
    return Record(
        id=item.id,
        condition=item.condition,
        category=item.category,
        prompt=prompt,
        scorer=item.scorer,
        gold=dict(item.gold),
        chance=item.chance,
        answer=answer.text,
        thought=answer.thought,
        heard=answer.heard,
        first_text_ms=answer.first_text_ms,
        first_audio_ms=answer.first_audio_ms,
        done_ms=answer.done_ms,
        tokens=dict(answer.tokens),
        speech=speech,
        is_cut=answer.is_cut,
        error=answer.error,
    )


def _file_name(item: Item) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in f"{item.id}.{item.condition}")


def listen(records: Sequence[Record], folder: Path, hear: Listen) -> list[Record]:
    """Have an ear write down the answers that are sound and were not listened to before: what
    was said is what counts, not what was meant to be.

    Raises:
        OSError: a sound file is gone.
    """
    return [
        structs.replace(record, speech_heard=hear(folder / record.speech))
        if record.speech is not None and record.speech_heard is None
        else record
        for record in records
    ]
