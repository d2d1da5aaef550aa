"""The fields that the beta of the API spells otherwise: sessions, responses, items, both ways.

Pure functions from JSON to JSON. What has the wrong type goes through as it is, so that the one
decoder of the GA shape refuses it in its own words.
"""

from collections.abc import Callable, Mapping
from typing import Any

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code

Json = dict[str, Any]

_FORMATS: dict[str, Json] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_FORMAT_NAMES = {str(value["type"]): name for name, value in _FORMATS.items()}

# Flat name -> path. The names of a response's fields are the session's, where it has them.
_PATHS = {
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
}
# What both shapes have at the top of a session.
_SAME = frozenset(
    {
        "id",
        "object",
        "expires_at",
        "model",
        "instructions",
        "tools",
        "tool_choice",
        "temperature",
        "tracing",
        "duplex",
    }
)
_NO_USAGE = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_token_details": {"cached_tokens": 0, "text_tokens": 0, "audio_tokens": 0},
    "output_token_details": {"text_tokens": 0, "audio_tokens": 0},
}
_PART_TYPES = {"output_text": "text", "output_audio": "audio"}
_PART_TYPES_OF_ASSISTANT = {beta: ga for ga, beta in _PART_TYPES.items()}


def fields_to_ga(flat: Json, param: str) -> Json:
    """Return the GA form of a session or of a response's parameters; absent stays absent and
    null stays null.

    Raises:
        ProtocolError: an audio format that does not exist; ``param`` stands before its name.
    """
    nested = {key: value for key, value in flat.items() if key not in _PATHS and key != "audio"}
    for name, path in _PATHS.items():
        if name in flat:
            place = nested
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = _value_to_ga(name, flat[name], param)
    return nested


def session_to_beta(session: Json) -> Json:
    """Return the flat form of a session as the server sends it."""
    flat = {key: value for key, value in session.items() if key in _SAME}
    return flat | _flattened(session)


def response_to_beta(response: Json) -> Json:
    """Return the flat form of a response as the server sends it."""
    flat = {
        key: value for key, value in response.items() if key not in ("audio", "output_modalities")
    }
    flat |= _flattened(response)
    flat.pop("max_response_output_tokens", None)  # the request's name: a response has the GA one
    flat["output"] = [item_to_beta(item) for item in response["output"]]
    if flat["status"] != "in_progress" and flat.get("usage") is None:
        flat["usage"] = _NO_USAGE  # its clients read the counts of cancelled responses too
    return flat


def item_to_ga(item: object) -> object:
    """Return the GA form of an item that a client sends."""
    if not isinstance(item, dict) or not isinstance(item.get("content"), list):
        return item
    names = _PART_TYPES_OF_ASSISTANT if item.get("role") == "assistant" else {"text": "input_text"}
    return item | {"content": [_renamed(part, names) for part in item["content"]]}


def item_to_beta(item: Json) -> Json:
    """Return the beta form of an item that the server sends."""
    if "content" not in item:
        return item
    return item | {"content": [_renamed(part, _PART_TYPES) for part in item["content"]]}


def param_to_beta(param: str) -> str:
    """Return where the client will find the field that an error speaks of."""
    root, _, rest = param.partition(".")
    if root in ("session", "response"):
        for name, path in _PATHS.items():
            there = ".".join(path)
            if rest == there or rest.startswith(f"{there}."):
                return f"{root}.{name}{rest.removeprefix(there)}"
    return param


def _flattened(nested: Json) -> Json:
    flat: Json = {}
    for name, path in _PATHS.items():
        place: object = nested
        for key in path:
            place = place.get(key, _ABSENT) if isinstance(place, Mapping) else _ABSENT
        if place is not _ABSENT:
            flat[name] = _TO_BETA[name](place) if name in _TO_BETA else place
    return flat


def _value_to_ga(name: str, value: object, param: str) -> object:
    if name.endswith("_audio_format") and value is not None:
        if not isinstance(value, str) or value not in _FORMATS:
            where = f"{param}.{name}"
            raise ProtocolError(
                f"Invalid value at '{where}'. Supported values are: {', '.join(_FORMATS)}.",
                code=Code.INVALID_VALUE,
                param=where,
            )
        return dict(_FORMATS[value])
    if name == "modalities" and isinstance(value, list) and "audio" in value:
        return ["audio"]  # there it means both: speech and its transcript
    return value


def _modalities_to_beta(modalities: Any) -> list[str]:
    return ["audio", "text"] if "audio" in modalities else ["text"]


def _format_to_beta(audio_format: Any) -> str:
    return _FORMAT_NAMES[audio_format["type"]]


def _renamed(part: object, names: Mapping[str, str]) -> object:
    if isinstance(part, dict) and isinstance(part.get("type"), str):
        return part | {"type": names.get(part["type"], part["type"])}
    return part


_ABSENT = object()
_TO_BETA: dict[str, Callable[[Any], object]] = {
    "modalities": _modalities_to_beta,
    "input_audio_format": _format_to_beta,
    "output_audio_format": _format_to_beta,
}
