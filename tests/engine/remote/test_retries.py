"""When a refused request is made again."""

from datetime import UTC, datetime

import pytest

from engine.remote.retries import pause_s, retry_after_s

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:07 GMT"}, 2.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:07 -0000"}, 2.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_what_a_service_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


def test_only_what_may_pass_is_tried_again_and_only_a_few_times() -> None:
    assert pause_s(400, {}, 1, NOW) is None
    assert pause_s(429, {"x-should-retry": "false"}, 1, NOW) is None
    first, second, third = (pause_s(503, {}, tries, NOW) for tries in (1, 2, 3))
    assert first is not None
    assert second is not None
    assert 0 < first < second
    assert third is None
    assert pause_s(429, {"retry-after": "1"}, 1, NOW) == 1.0
