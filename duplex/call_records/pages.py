"""``/v1/calls``: the calls that run, and those that were recorded, for who has an admin key."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs

import msgspec

from duplex.call_records.journal import CallRecord
from duplex.call_records.ranges import wanted_range
from duplex.call_records.shelf import FILES, Shelf
from duplex.call_records.tickets import is_good, make_ticket
from duplex.logs import iso
from duplex.server import http
from duplex.server.admission import Admission
from duplex.server.http import HttpAnswer, HttpRequest, StreamedAnswer
from duplex.server.keys import Keys, presented_key
from duplex.server.registry import CallRegistry
from duplex.server.resumable_call import ResumableCall

PATH = "/v1/calls"
PAGE = "/calls"
_PAGE_FILE = "/calls.html"
_PART_BYTES = 64 * 1024
_AT_ONCE, _MOST_AT_ONCE = 50, 200
_Headers = tuple[tuple[str, str], ...]
_HEADERS: _Headers = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))


def is_for(path: str) -> bool:
    """Whether a request for ``path`` is for `CallPages`."""
    return path == PATH or path.startswith(f"{PATH}/")


@dataclass(frozen=True, slots=True)
class CallPages:
    """Of one server. Without an admin key there is nothing at these paths: who calls from this
    machine may be a proxy, or a page from anywhere that had its own name lead here."""

    keys: Keys
    admission: Admission
    calls: CallRegistry
    shelf: Shelf | None  # None: nothing is recorded

    def with_page(self, handlers: dict[str, http.Handler]) -> dict[str, http.Handler]:
        """Return the handlers of all pages with that of `PAGE` in its place."""
        page = handlers.pop(_PAGE_FILE)
        return {**handlers, PAGE: page} if self.keys.has_admins else handlers

    def open(self, head: HttpRequest) -> HttpAnswer | http.Exchange:
        """Take a request in."""
        path = head.path  # below the path of a proxy

        async def answer(request: HttpRequest) -> HttpAnswer | StreamedAnswer:
            return await self._answer(replace(request, path=path))

        return self.admission.refusal(head) or http.Exchange(answer)

    async def _answer(self, request: HttpRequest) -> HttpAnswer | StreamedAnswer:
        if not self.keys.has_admins:
            return _missing("Calls are shown to those who have an admin key, and there is none.")
        record_id, _, name = request.path.removeprefix(PATH).strip("/").partition("/")
        key = presented_key(request.headers.get("authorization"), None)
        admin = self.keys.find_admin(key)
        if admin is None and not (name and self._has_ticket(request, record_id)):
            return http.unauthorized()
        if name:
            return await self._file(request, record_id, name)
        if request.method == "DELETE" and record_id:
            return await self._delete(record_id)
        if request.method not in ("GET", "HEAD"):
            return http.method_not_allowed("GET, HEAD, DELETE" if record_id else "GET, HEAD")
        assert admin is not None
        return await (self._one(record_id, admin) if record_id else self._list(request))

    def _has_ticket(self, request: HttpRequest, record_id: str) -> bool:
        tickets = parse_qs(request.query).get("ticket", [""])
        return is_good(tickets[0], self.keys.admin_digests, record_id, time.time())

    async def _list(self, request: HttpRequest) -> HttpAnswer:
        query = parse_qs(request.query)
        before = query.get("before", [""])[0]
        limit = query.get("limit", [str(_AT_ONCE)])[0]
        if not (limit.isascii() and limit.isdigit()) or not 0 < int(limit) <= _MOST_AT_ONCE:
            message = f"limit is a number from 1 to {_MOST_AT_ONCE}."
            return http.problem(HTTPStatus.BAD_REQUEST, message, "invalid_value", param="limit")
        recorded: list[dict[str, Any]] = []
        has_more = False
        if self.shelf is not None:
            recorded, has_more = await asyncio.to_thread(_listed, self.shelf, before, int(limit))
        return _json(
            {
                "object": "list",
                "records": self.shelf is not None,
                "running": [_running(call) for call in self.calls],
                "recorded": recorded,
                "has_more": has_more,
            }
        )

    async def _one(self, record_id: str, admin: bytes) -> HttpAnswer:
        if self.shelf is None:
            return _no_such()
        record = await asyncio.to_thread(self.shelf.record, record_id)
        lines = await asyncio.to_thread(self.shelf.lines, record_id)
        if record is None or lines is None:
            return _no_such()
        ticket = make_ticket(admin, record_id, time.time())
        # Relative to `PATH`: what is before it a proxy may have taken away.
        files = {
            name: f"{record_id}/{name}?ticket={ticket}"
            for name in FILES
            if self.shelf.file(record_id, name) is not None
        }
        return _json({"call": record, "transcript": lines, "files": files})

    async def _delete(self, record_id: str) -> HttpAnswer:
        if self.shelf is None or not await asyncio.to_thread(self.shelf.delete, record_id):
            return _no_such()
        return _json({"id": record_id, "object": "call.deleted", "deleted": True})

    async def _file(
        self, request: HttpRequest, record_id: str, name: str
    ) -> HttpAnswer | StreamedAnswer:
        if request.method not in ("GET", "HEAD"):
            return http.method_not_allowed("GET, HEAD")
        path = None if self.shelf is None else self.shelf.file(record_id, name)
        if path is None:
            return _no_such()
        try:
            file = path.open("rb")
        except FileNotFoundError:  # it was deleted meanwhile
            return _no_such()
        return _sent(request, file, path)


def _sent(request: HttpRequest, file: BinaryIO, path: Path) -> HttpAnswer | StreamedAnswer:
    size = path.stat().st_size
    try:
        wanted = wanted_range(request.headers.get("range"), size)
    except ValueError as error:
        file.close()
        headers: _Headers = (("Content-Range", f"bytes */{size}"),)
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return http.problem(status, str(error), "invalid_range", headers)
    part = range(size) if wanted is None else wanted
    headers = (
        *_HEADERS,
        ("Accept-Ranges", "bytes"),
        ("Content-Length", str(len(part))),
        ("Content-Disposition", f'inline; filename="{path.parent.name}-{path.name}"'),
    )
    status = HTTPStatus.OK
    if wanted is not None:
        status = HTTPStatus.PARTIAL_CONTENT
        headers = (*headers, ("Content-Range", f"bytes {part.start}-{part.stop - 1}/{size}"))
    if request.method == "HEAD":
        part = range(0)
    return StreamedAnswer(_parts(file, part), FILES[path.name], headers, status)


async def _parts(file: BinaryIO, part: range) -> AsyncGenerator[bytes, None]:
    with file:
        file.seek(part.start)
        left = len(part)
        while left:
            data = await asyncio.to_thread(file.read, min(left, _PART_BYTES))
            if not data:
                raise OSError("the file is shorter than it was")
            left -= len(data)
            yield data


def _listed(shelf: Shelf, before: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
    ids = [record_id for record_id in shelf.ids() if not before or record_id < before]
    records = [shelf.record(record_id) for record_id in ids[:limit]]
    return [_short(record) for record in records if record is not None], len(ids) > limit


def _short(record: CallRecord) -> dict[str, Any]:
    whole: dict[str, Any] = msgspec.to_builtins(record)
    del whole["answers"]
    return whole


def _running(call: ResumableCall) -> dict[str, Any]:
    info = call.info
    return {
        "call_id": info.call_id,
        "began": iso(info.began_s),
        "began_s": info.began_s,
        "seconds": round(time.time() - info.began_s, 1),
        "phase": call.phase,
        "key": info.key,
        "client": info.client,
        "turns": call.observers.turns,
    }


def _json(content: Any) -> HttpAnswer:
    return HttpAnswer(HTTPStatus.OK, msgspec.json.encode(content), headers=_HEADERS)


def _missing(message: str) -> HttpAnswer:
    return http.problem(HTTPStatus.NOT_FOUND, message, "not_found")


def _no_such() -> HttpAnswer:
    return _missing("There is no such recording.")


def exchanges(pages: CallPages) -> dict[str, http.Opener]:
    """What is answered here, by path; one that ends with a slash stands for all below it."""
    return {PATH: pages.open, f"{PATH}/": pages.open}
