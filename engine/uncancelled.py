"""Waiting for work that must end before its caller may go on, even if that is cancelled."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def uncancelled(work: Awaitable[T]) -> T:
    """Wait for ``work`` to end, even if the caller is cancelled; raise the cancellation after that.

    Raises:
        CancelledError: the caller was cancelled meanwhile.
        Exception: what ``work`` raised, if the caller was not cancelled.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved
        raise cancelled
    return task.result()
