"""Rates and allowances, with the time given."""

import pytest

from duplex.rate import TokenBucket
from duplex.server.quota import DAY_S, Account, Allowance, Rates

NOON = 20_000 * DAY_S + DAY_S / 2.0


def test_a_bucket_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=10, capacity=20, now_s=0)
    assert all(bucket.take(1, 0) for _ in range(20))
    assert not bucket.take(1, 0)
    assert bucket.take(1, 0.2)
    assert not bucket.take(1, 0.2)


def test_a_client_that_goes_on_regardless_stays_refused() -> None:
    bucket = TokenBucket(rate=1, capacity=1, now_s=0)
    bucket.take(100, 0)
    assert not bucket.take(1, 50)
    assert bucket.take(1, 200)


def test_debt_says_how_long_to_wait() -> None:
    bucket = TokenBucket(rate=8, capacity=60, now_s=0)
    assert bucket.debt_s(60, 0) == 0
    assert bucket.debt_s(16, 0) == 2
    assert bucket.debt_s(0, 2) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(rate=1, capacity=1, now_s=100)
    assert bucket.take(1, 100)
    assert not bucket.take(1, 50)


@pytest.mark.parametrize(("rate", "capacity"), [(0, 1), (1, 0), (-1, 1)])
def test_a_bucket_without_rate_or_capacity_is_a_mistake(rate: float, capacity: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        TokenBucket(rate, capacity, 0)


def test_without_limits_an_account_refuses_nothing() -> None:
    account = Account(Allowance(), NOON)
    for _ in range(1000):
        account.begin(NOON)
    assert account.refusal(NOON) is None
    assert account.left_s(NOON) == float("inf")
    assert Rates(Allowance(), 100).receive(10**12, NOON)


def test_calls_at_a_time() -> None:
    account = Account(Allowance(calls=1), NOON)
    account.begin(NOON)
    assert "1 calls at a time" in (account.refusal(NOON) or "")
    account.end(NOON + 1)
    assert account.refusal(NOON + 1) is None


def test_minutes_are_used_by_all_open_calls_together() -> None:
    account = Account(Allowance(minutes_per_day=10), NOON)
    account.begin(NOON)
    account.begin(NOON)
    assert account.left_s(NOON) == 300
    assert account.left_s(NOON + 300) == 0
    assert "10 minutes a day" in (account.refusal(NOON + 300) or "")


def test_a_call_over_midnight_counts_for_both_days() -> None:
    account = Account(Allowance(minutes_per_day=10), NOON)
    midnight = NOON + DAY_S / 2
    account.begin(midnight - 500)
    assert account.left_s(midnight - 1) == 600 - 499
    assert account.left_s(midnight + 60) == 540
    account.end(midnight + 60)
    assert account.refusal(midnight + 60) is None


def test_a_largest_message_passes_whatever_the_rate() -> None:
    account = Rates(Allowance(bytes_per_s=10), 1000)
    assert account.receive(1000, NOON)
    assert account.receive(10, NOON)
    assert not account.receive(1, NOON)
    assert account.receive(1, NOON + 1)
