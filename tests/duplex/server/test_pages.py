"""The static files of the browser client, and how they are served."""

import json
import re
from http import HTTPStatus

import aiohttp
import pytest

from duplex.config import Config, ServerConfig
from duplex.server.http import HttpAnswer, HttpRequest
from duplex.server.pages import Pages, load_pages
from tests._support.servers import running_server

pytestmark = pytest.mark.realtime

PAGES = load_pages()


def get(pages: Pages, path: str, method: str = "GET", **headers: str) -> HttpAnswer | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return pages.answer(HttpRequest(method, path, named))


def sure(answer: HttpAnswer | None) -> HttpAnswer:
    assert answer is not None
    return answer


def test_the_page_and_all_that_it_names_are_there() -> None:
    index = sure(get(PAGES, "/"))
    assert index.status == HTTPStatus.OK
    assert index.content_type == "text/html; charset=utf-8"
    named = re.findall(r'(?:href|src)="([^"]*)"', index.body.decode())
    assert len(named) >= 3
    assert {f"/{name}" for name in named} <= PAGES.paths  # relative: a proxy may add a path


def test_modules_import_only_what_is_served() -> None:
    modules = [path for path in PAGES.paths if path.endswith(".js")]
    assert len(modules) > 10
    for path in modules:
        text = sure(get(PAGES, path)).body.decode()
        for name in re.findall(r'(?:from|import\()\s*"([^"]+)"', text):
            folder = path.rpartition("/")[0]
            while name.startswith(("./", "../")):
                if name.startswith("../"):
                    folder = folder.rpartition("/")[0]
                name = name.partition("/")[2]
            assert f"{folder}/{name}" in PAGES.paths, f"{path} imports {name}"


def test_nothing_runs_that_is_not_a_file_of_ours() -> None:
    index = sure(get(PAGES, "/")).body.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)", index) == []
    assert re.findall(r"\s(?:on\w+|style)=", index) == []
    for path in PAGES.paths:
        text = sure(get(PAGES, path)).body.decode()
        outside = re.findall(r"https?://(?!www\.w3\.org/)[\w.]+", text)
        assert outside == [], f"{path} names another site"
    headers = dict(sure(get(PAGES, "/app/main.js")).headers)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/package.json",
        "/../bench/questions.toml",
        "/app/../index.html",
        "/app",
        "/app/",
        "//",
        "/%2e",
    ],
)
def test_only_listed_files_exist(path: str) -> None:
    assert get(PAGES, path) is None


def test_files_of_other_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"/secret\.pem is of no kind that is served"):
        Pages({"/secret.pem": b""})


def test_a_file_that_has_not_changed_is_not_sent_again() -> None:
    pages = Pages({"/a.js": b"1"})
    whole = sure(get(pages, "/a.js"))
    headers = dict(whole.all_headers())
    assert headers["Cache-Control"] == "no-cache"
    for known in (headers["ETag"], f"W/{headers['ETag']}", f'"x", {headers["ETag"]}', "*"):
        again = sure(get(pages, "/a.js", if_none_match=known))
        assert (again.status, again.body) == (HTTPStatus.NOT_MODIFIED, b"")
    other = sure(get(Pages({"/a.js": b"2"}), "/a.js", if_none_match=headers["ETag"]))
    assert (other.status, other.body) == (HTTPStatus.OK, b"2")


def test_files_are_only_read() -> None:
    refused = sure(get(PAGES, "/", "DELETE"))
    assert refused.status == HTTPStatus.METHOD_NOT_ALLOWED
    assert ("Allow", "GET, HEAD") in refused.headers


async def test_the_server_serves_them() -> None:
    config = Config(server=ServerConfig(port=0))
    async with running_server(config) as running, aiohttp.ClientSession() as http:
        async with http.get(f"{running.http}/") as answer:
            assert answer.status == 200
            assert "<title>duplex</title>" in await answer.text()
            etag = answer.headers["ETag"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with http.get(f"{running.http}/", headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
        async with http.head(f"{running.http}/app/main.js") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert int(answer.headers["Content-Length"]) > 1000
        async with http.get(f"{running.http}/v1/realtime") as answer:
            assert answer.status == 426, "the page learns from it that calls are taken"
        async with http.get(f"{running.http}/nothing") as answer:
            assert answer.status == 404
            assert json.loads(await answer.text())["error"]["code"] == "not_found"
