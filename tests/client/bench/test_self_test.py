"""The bench measures known delays of a real process over a real socket."""

import asyncio

import numpy as np
import pytest

from client.bench.click_server import CLICK, SOUND, Answer
from client.bench.self_test import click, describe, measure_error
from client.sound.speech import first_audible, speech_bounds
from duplex.cli import main as cli


def test_an_answer_begins_with_its_click():
    samples = Answer(silence=100, sound=240).samples()
    assert len(samples) == 340
    assert first_audible(samples) == 100
    assert samples[100] == np.float32(CLICK)
    assert np.abs(samples[101:]).min() == np.float32(SOUND)


@pytest.mark.realtime
def test_clicks_are_measured_and_none_is_lost():
    """An answer cannot be heard before it is sent: the error is not negative. How large it is
    depends on the machine and is for `duplex bench` to say."""
    error = asyncio.run(measure_error(clicks=3))
    assert error.v2v.n == 3
    assert 1 <= error.stop.n <= 3  # on a machine that stands still, a sound may be over too soon
    assert min(error.v2v_errors) > -0.1
    assert min(error.stop_errors) > -0.1
    assert [line.split(":")[0] for line in describe(error)] == ["delays", "stops"]


def test_a_click_is_all_the_speech_there_is():
    bounds = speech_bounds(click(0, 123).samples)
    assert (bounds.first_sample, bounds.last_sample) == (123, 123)


@pytest.mark.parametrize("arguments", [["bench", "--list-metrics"]])
def test_the_metrics_are_listed(arguments, capsys):
    assert cli.main(arguments) == 0
    assert "v2v_p50_ms" in capsys.readouterr().out
