"""Browsers and servers for the tests of the page."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests._support.browser import Page, browser
from tests._support.pages import SCRIPT, Opened, config
from tests._support.served import Served, served


@pytest.fixture(scope="module")
def quiet() -> Iterator[Page]:
    """A browser in a quiet room, for all tests that need no other."""
    with browser("") as page:
        yield page


@pytest.fixture
def opened(quiet: Page) -> Iterator[Opened]:
    """Open a page of a server: in the quiet browser, or in one of its own."""
    with ExitStack() as stack:

        def open_page(server: Served, **options: Any) -> Page:
            page = stack.enter_context(browser(server.address, **options)) if options else quiet
            page.address = server.address
            page.open()
            return page

        yield open_page
    quiet.driver.get("about:blank")


@pytest.fixture(scope="module")
def steady() -> Iterator[Served]:
    """A server for tests that leave nothing behind."""
    with served(config(), SCRIPT) as server:
        yield server


@pytest.fixture
def page(steady: Served, opened: Opened) -> Page:
    """Its page, afresh."""
    page = opened(steady)
    page.js("localStorage.clear()")
    page.open()
    return page
