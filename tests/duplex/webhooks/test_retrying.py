"""What becomes of an event, by the answer to it."""

from datetime import UTC, datetime

import pytest

from duplex.webhooks.retrying import Answer, Backoff, verdict, wait_s

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BACKOFF = Backoff(first_s=1, most_s=300)


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ((200, 202, 204, 299), "delivered"),
        ((None, 500, 502, 503, 504, 429, 408, 425), "again"),
        ((301, 302, 307, 308, 400, 401, 403, 404, 409, 413, 422), "refused"),
        ((410,), "gone"),
    ],
)
def test_the_status_decides(statuses: tuple[int | None, ...], found: str) -> None:
    assert {verdict(Answer(status, {})) for status in statuses} == {found}


def test_pauses_double_up_to_a_bound_and_are_spread() -> None:
    assert [BACKOFF.pause_s(tries, 0) for tries in (1, 2, 3, 9, 10, 10_000)] == [
        1, 2, 4, 256, 300, 300,
    ]  # fmt: skip
    assert BACKOFF.pause_s(3, 0.999) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    ("asked", "waits_s"),
    [
        ({}, 1),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:09 GMT"}, 9),
        ({"retry-after": "0"}, 1),  # no receiver is asked without a pause
        ({"retry-after": "soon"}, 1),
        ({"retry-after": "-3"}, 1),
        ({"retry-after": "61"}, None),  # too late for this event
    ],
)
def test_a_receiver_may_ask_for_longer(asked: dict[str, str], waits_s: float | None) -> None:
    assert wait_s(Answer(429, asked), 1, 60, BACKOFF, 0, NOW) == waits_s


def test_an_event_is_given_up_when_its_time_is_over() -> None:
    assert wait_s(Answer(), 6, 32, BACKOFF, 0, NOW) == 32
    assert wait_s(Answer(), 6, 31, BACKOFF, 0, NOW) is None
