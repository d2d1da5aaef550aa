"""Functions of an assistant's own, which the model may call: a Python file of plain functions.

The file names them in a list, ``FUNCTIONS``. The model sees a function's docstring and its
annotated parameters, and gets what it returns as JSON.
"""

import asyncio
import inspect
import json
import logging
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from duplex.errors import ConfigError
from duplex.logs import AnyLogger
from duplex.phone.threads import in_thread
from duplex.protocol.tools import FunctionTool

logger = logging.getLogger(__name__)

LIMIT_S = 20.0  # a caller does not wait longer; the model is told that it took too long


@dataclass(frozen=True, slots=True)
class _Function:
    call: Callable[..., Any]
    arguments: type[msgspec.Struct]
    tool: FunctionTool


class Functions:
    """The functions of one file, for all calls. What they share, they hold themselves."""

    def __init__(self, functions: Mapping[str, _Function] | None = None) -> None:
        self._functions = dict(functions or {})
        self._running: set[asyncio.Task[str]] = set()

    @property
    def tools(self) -> tuple[FunctionTool, ...]:
        """Their descriptions for the model."""
        return tuple(function.tool for function in self._functions.values())

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    async def call(self, name: str, arguments: str, log: AnyLogger = logger) -> str:
        """Call a function with its arguments as JSON; returns its result as JSON, or, as
        ``{"error": ...}``, what went wrong, for the model to tell the caller.

        If this is cancelled, because the caller has hung up, the function goes on: a booking is
        not left half made."""
        task = asyncio.create_task(self._call(name, arguments, log))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def finish(self, patience_s: float) -> None:
        """Wait for what still runs, ``patience_s`` at most."""
        if self._running:
            await asyncio.wait(self._running, timeout=patience_s)

    async def _call(self, name: str, arguments: str, log: AnyLogger) -> str:
        function = self._functions.get(name)
        if function is None:  # models make names up
            return json.dumps({"error": "there is no such function"})
        try:
            given = msgspec.json.decode(arguments or "{}", type=function.arguments)
        except (msgspec.DecodeError, UnicodeError) as error:
            return json.dumps({"error": f"wrong arguments: {error}"})
        try:
            async with asyncio.timeout(LIMIT_S):
                result = await _call(function.call, msgspec.structs.asdict(given))
            return msgspec.json.encode(result).decode()
        except TimeoutError:
            log.warning("function %s took longer than %g s", name, LIMIT_S)
            return json.dumps({"error": "it took too long"})
        except Exception:  # whatever it is, the call goes on
            log.exception("function %s failed", name)
            return json.dumps({"error": "it failed"})


async def _call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    return await in_thread(partial(function, **arguments))


def load_functions(path: Path) -> Functions:
    """Run the file and take the functions that it names.

    Raises:
        ConfigError: it cannot be read or run, or what it names cannot be a tool.
    """
    try:
        listed = runpy.run_path(str(path))["FUNCTIONS"]
        return Functions({function.__name__: _function(function) for function in listed})
    except KeyError:
        raise ConfigError(f"{path} has no list FUNCTIONS") from None
    except Exception as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error


def _function(call: Callable[..., Any]) -> _Function:
    """Read a function's signature.

    Raises:
        TypeError: it has no docstring, or a parameter that JSON cannot give.
    """
    description = inspect.getdoc(call)
    if not description:
        raise TypeError(f"{call.__name__} has no docstring: the model would not know what it does")
    fields: list[Any] = []
    for parameter in inspect.signature(call, eval_str=True).parameters.values():
        if parameter.annotation is parameter.empty:
            raise TypeError(f"{call.__name__}: the type of {parameter.name} is missing")
        default = () if parameter.default is parameter.empty else (parameter.default,)
        fields.append((parameter.name, parameter.annotation, *default))
    arguments = msgspec.defstruct(call.__name__, fields, forbid_unknown_fields=True, kw_only=True)
    (schema,), shared = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    schema = dict(shared.pop(call.__name__, schema))
    schema.pop("title", None)
    if shared:
        schema["$defs"] = shared
    tool = FunctionTool(name=call.__name__, description=description, parameters=schema)
    return _Function(call, arguments, tool)
