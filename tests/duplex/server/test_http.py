"""The table of routes: which handler answers which path and method."""

from http import HTTPStatus

import pytest

from duplex.server.http import HttpAnswer, HttpRequest, Routes, read_only


def named(name: str) -> HttpAnswer:
    return HttpAnswer(HTTPStatus.OK, name.encode())


ROUTES = Routes(
    {"/a": lambda _: named("a"), "/b": read_only(lambda request: named(request.method))},
    "Try another path.",
)


def ask(method: str, path: str) -> HttpAnswer:
    answer = ROUTES.answer(HttpRequest(method, path, {}))
    assert isinstance(answer, HttpAnswer)
    return answer


def test_each_path_has_its_handler() -> None:
    assert ask("POST", "/a").body == b"a"
    assert ask("GET", "/b").body == b"GET"


@pytest.mark.parametrize("path", ["/", "/a/", "/A", "/c", ""])
def test_a_path_without_one_is_not_found(path: str) -> None:
    answer = ask("GET", path)
    assert answer.status is HTTPStatus.NOT_FOUND
    assert b"Try another path." in answer.body


@pytest.mark.parametrize("method", ["POST", "DELETE", "get"])
def test_what_is_only_read_refuses_other_methods(method: str) -> None:
    assert ask("HEAD", "/b").status is HTTPStatus.OK
    answer = ask(method, "/b")
    assert answer.status is HTTPStatus.METHOD_NOT_ALLOWED
    assert ("Allow", "GET") in answer.headers
