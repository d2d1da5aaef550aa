"""An OpenAI-compatible chat endpoint, asked for whole answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from client.realtime import Unreachable, safe_url


@dataclass(frozen=True, slots=True)
class Completion:
    """What it said. ``is_cut``: it ran into a limit of tokens."""

    text: str
    thought: str = ""
    tokens: Mapping[str, int] = field(default_factory=dict)
    is_cut: bool = False


class ChatFailed(Exception):
    """One request failed; the message says why."""


@dataclass(frozen=True, slots=True)
class ChatEndpoint:
    """``url`` is what comes before "/chat/completions"."""

    url: str
    model: str
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 300.0

    @property
    def name(self) -> str:
        """As the report shows it."""
        return f"{self.model} at {safe_url(self.url)}"

    async def complete(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Completion:
        """Ask for an answer.

        Raises:
            ChatFailed: there is none.
            Unreachable: nothing is there.
        """
        headers = {**({"Authorization": f"Bearer {self.key}"} if self.key else {}), **self.headers}
        body = {"model": self.model, "messages": list(messages), **options}
        try:
            async with httpx2.AsyncClient(timeout=self.timeout_s) as client:
                path = f"{self.url.rstrip('/')}/chat/completions"
                response = await client.post(path, json=body, headers=headers)
        except httpx2.ConnectError as error:
            raise Unreachable(f"no server at {safe_url(self.url)}: {error}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ChatFailed(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if response.status_code != 200:
            raise ChatFailed(f"HTTP {response.status_code}: {response.text[:300].strip()}")
        return _completion(response)


def _completion(response: httpx2.Response) -> Completion:
    """Raises:
    ChatFailed: it is no chat completion.
    """
    try:
        data = response.json()
        chosen = data["choices"][0]
        message = chosen["message"]
        text = message.get("content") or ""
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ChatFailed(f"what came is no chat completion: {response.text[:100]}") from error
    if not isinstance(text, str) or not isinstance(thought, str):
        raise ChatFailed("the answer is no text")
    used = data.get("usage") or {}
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    tokens = {ours: used[theirs] for theirs, ours in names.items() if theirs in used}
    return Completion(text, thought, tokens, chosen.get("finish_reason") == "length")
