"""What a service says went wrong, in the shapes that services have for it. No IO."""

import json
import re
from typing import Any

_LONGEST = 300  # characters of a message; more is a page, not a reason
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


def error_in(value: Any) -> str | None:
    """The error that a JSON object reports, or None.

    Read are OpenAI's ``error`` (an object or a text), ``{"object": "error"}`` (vLLM), ``{"type":
    "error"}``, and ``detail`` or ``message`` in the place of an answer (FastAPI and gateways).
    """
    if not isinstance(value, dict):
        return None
    if error := value.get("error"):
        return reason(error)
    if value.get("object") == "error" or value.get("type") == "error" or value.get("errors"):
        return reason(value)
    has_answer = "choices" in value or value.get("object") is not None
    if not has_answer and (value.get("detail") or isinstance(value.get("message"), str)):
        return reason(value)
    return None


def reason(value: Any) -> str:
    """The words of an error ``value`` of any shape, in one line."""
    return one_line(_words(value, 0) or json.dumps(value, default=str))


def reason_of_body(body: bytes) -> str:
    """The words of the body of a refusal: JSON, HTML or text; '' if it is empty."""
    text = body.decode("utf-8", "replace").strip()
    if not text:
        return ""
    if text[0] in '{["':
        try:
            return reason(json.loads(text))
        except (ValueError, RecursionError):
            return one_line(text)
    return text_of_html(text) if text[0] == "<" else one_line(text)


def text_of_html(page: str) -> str:
    """The title of a page, or else what is written on it."""
    title = _TITLE.search(page)
    return one_line((title and title[1].strip()) or _TAG.sub(" ", page))


def one_line(text: str) -> str:
    """``text`` on one line and not too long, with nothing that UTF-8 cannot hold."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _words(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth > 4:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(part, depth + 1) for part in value[:3])))
    if not isinstance(value, dict):
        return ""
    for key in ("error", "errors", "message", "msg", "detail", "error_description", "title"):
        if said := _words(value.get(key), depth + 1):
            return f"{said} ({place})" if key == "msg" and (place := _place(value)) else said
    code = value.get("code") or value.get("type") or value.get("status")
    return str(code) if isinstance(code, str | int) and not isinstance(code, bool) else ""


def _place(value: dict[str, Any]) -> str:
    """Which field FastAPI complains of."""
    place = value.get("loc")
    return ".".join(map(str, place)) if isinstance(place, list) else ""
