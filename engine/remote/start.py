"""What is said of a service at the start, while it can still be mended: its address, its models."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx2

from engine.errors import EngineError
from engine.remote.bodies import reason_of_body
from engine.remote.service import Service

_PATHS = re.compile(
    r"/(?:chat/completions|completions|responses|audio/speech|audio/transcriptions|models)/*$"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HERE = re.compile(r"(?:localhost|[\d.]+|\[[0-9a-fA-F:]*\]|[^./:]+)(?::\d+)?(?:/|$)")
_PATIENCE_S = 3.0
_SHOWN = 5  # names of models in a message


class AddressError(ValueError):
    """A base URL that cannot be used; the message says what to write."""


def mended(key: str, base_url: str) -> tuple[str, str]:
    """The address to use for ``base_url``, and what is to be said about it, or ''. ``key`` is its
    name in the configuration.

    Raises:
        AddressError: it is not clear what is meant.
    """
    written = base_url.strip()
    if not written:
        raise AddressError(f"{key} must be set, for example to http://127.0.0.1:8000/v1")
    if not _SCHEME.match(written):
        scheme = "http" if _HERE.match(written) else "https"
        meant = f"{scheme}://{written.lstrip('/')}"
        raise AddressError(f'{key} = "{base_url}" has no scheme: write "{meant}"')
    try:
        url = httpx2.URL(written)
    except (httpx2.InvalidURL, ValueError) as error:
        raise AddressError(f'{key} = "{base_url}" is no address: {error}') from error
    if url.scheme not in ("http", "https") or not url.host:
        raise AddressError(f'{key} = "{base_url}" is no address of the form http://HOST/v1')
    path = _PATHS.sub("", url.path).rstrip("/")
    meant = str(url.copy_with(path=path or "/", fragment=None)).rstrip("/")
    if path == url.path.rstrip("/"):
        return meant, ""
    return meant, f'{key} = "{base_url}" names one of its paths: "{meant}" is used, write that'


def checked(service: Service, key: str, models: Sequence[str]) -> tuple[Service, list[str]]:
    """Ask ``service`` for its models. Returns the service as it is to be used, and what is to be
    said: lines, none if all is well. ``key`` is the configuration's table.

    A model that is not listed may be known all the same, by a short name for one: it is asked for
    one token, if the service is a brain.

    Raises:
        EngineError: the service says that there is no such model.
    """
    try:
        with service.in_words(), service.connect_blocking(_PATIENCE_S) as client:
            response = client.get("models")
            if response.status_code == 404 and not service.base_url.endswith("/v1"):
                versioned = replace(service, base_url=f"{service.base_url}/v1")
                with versioned.connect_blocking(_PATIENCE_S) as other:
                    found = other.get("models")
                if found.is_success and _names(found) is not None:
                    said = f'{key}.base_url lacks its end: "{versioned.base_url}" is used'
                    return versioned, [said, *_unknown(versioned, key, models, _names(found) or [])]
            names = _names(response) if response.is_success else None
    except EngineError as error:
        return service, [f"{key}.base_url: {error}"]
    if response.status_code in (401, 403):
        said = service.safe(reason_of_body(response.content))
        return service, [f"{service.name} refuses the key: {response.status_code} {said}".rstrip()]
    if names is None:
        return service, [f"{service.name} does not list its models, so {key}.model is not checked"]
    return service, _unknown(service, key, models, names)


def _names(response: httpx2.Response) -> list[str] | None:
    """The models that are listed; None if that is no list of models."""
    try:
        listed = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    if isinstance(listed, dict):
        listed = listed.get("data", listed.get("models"))
    if not isinstance(listed, list):
        return None
    names = [m.get("id", m.get("name")) if isinstance(m, dict) else m for m in listed]
    return [name for name in names if isinstance(name, str)]


def _unknown(service: Service, key: str, models: Sequence[str], listed: Sequence[str]) -> list[str]:
    unlisted = [m for m in models if m not in listed and f"{m}:latest" not in listed]
    lines = []
    for model in unlisted:
        near = difflib.get_close_matches(model, listed, _SHOWN, 0.3) or [*listed[:_SHOWN]]
        line = f'{service.name} has no model "{model}" in its list ({", ".join(near) or "empty"})'
        if service.part == "brain" and (refusal := _refusal(service, model)):
            raise EngineError(f"{line}: set {key}.model to one of these; it says {refusal}")
        lines.append(f"{line}: is {key}.model right?")
    return lines


def _refusal(service: Service, model: str) -> str:
    """How the service refuses to answer as ``model``; '' if it does answer, or it is not clear."""
    request = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    try:
        status, said = tried(service, request, _PATIENCE_S)
    except EngineError:
        return ""
    return said if status in (400, 404, 422) else ""


def tried(
    service: Service,
    request: Mapping[str, Any],
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Ask a brain once, with a ``request`` that is not streamed. Returns the status and, if that is
    a refusal, the words of it.

    Raises:
        RemoteError: it cannot be reached, or does not answer in time.
    """
    with service.in_words(), service.connect_blocking(timeout_s) as client:
        response = client.post("chat/completions", json=request, headers=dict(headers or {}))
    said = service.safe(reason_of_body(response.content)) or str(response.status_code)
    return response.status_code, "" if response.is_success else said
