"""Scores of free answers by a language model behind an OpenAI-compatible chat endpoint.

A judge's words are kept with the answer, so that they can be read by the rule again. Without a
judge such answers are not scored.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence

from msgspec import structs

from client.evaluation.chat import ChatEndpoint, ChatFailed
from client.evaluation.items import Record
from client.evaluation.scorers import split_thought

ANSWER = "{answer}"  # where a prompt wants the answer


def judged_gold(template: str, **fields: str) -> dict[str, str]:
    """What the gold of a judged question holds: the prompt, but for the answer, and the hash of
    its template, which tells two versions of it apart."""
    prompt = template
    for name, value in fields.items():
        prompt = prompt.replace("{" + name + "}", value)
    digest = hashlib.sha256(template.encode()).hexdigest()[:12]
    return {"judge": prompt, "judge_prompt": digest}


def is_judged(record: Record) -> bool:
    """Whether a judge is to say how good the answer is."""
    return "judge" in record.gold


async def judge(
    records: Sequence[Record],
    endpoint: ChatEndpoint,
    parallel: int,
    keep: Callable[[Record], None],
    tell: Callable[[str], None],
) -> list[Record]:
    """Have the answers judged that were not yet; ``keep`` is given each at once. An answer whose
    judging fails stays without a score.

    Raises:
        Unreachable: the judge is not there.
    """
    room = asyncio.Semaphore(parallel)

    async def one(record: Record) -> Record:
        if not is_judged(record) or record.judged is not None or record.error is not None:
            return record
        _, answer = split_thought(record.scored_text)
        prompt = str(record.gold["judge"]).replace(ANSWER, answer)
        try:
            async with room:
                said = await endpoint.complete([{"role": "user", "content": prompt}], temperature=0)
        except ChatFailed as error:
            tell(f"{record.id}: not judged: {error}")
            return record
        judged = structs.replace(record, judged=split_thought(said.text)[1])
        keep(judged)
        return judged

    return list(await asyncio.gather(*map(one, records)))


def described(endpoint: ChatEndpoint, records: Sequence[Record]) -> str | None:
    """The judge as the report names it, with the hash of its prompts' templates; None if nothing
    is judged."""
    used = {str(record.gold["judge_prompt"]) for record in records if is_judged(record)}
    return f"{endpoint.name}, prompt {', '.join(sorted(used))}" if used else None
