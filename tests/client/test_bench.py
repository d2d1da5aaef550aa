"""A whole benchmark against a scripted server, and the report of it."""

import json
import os
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from client.bench.report import write_report
from client.bench.result import WordErrors, outcomes, pooled
from client.bench.runner import BenchOptions, bench, plan
from client.call import CallOptions
from client.realtime import SessionOptions, Unreachable
from client.speech import Recording

MARKS = {
    "pause": 100.0,
    "ear": 180.0,
    "first_token": 230.0,
    "first_audio": 290.0,
    "endpoint": 210.0,
}


class Page(HTMLParser):
    """Checks that tags nest, and keeps what is shown."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def recordings(lab, count, prefix="q"):
    return [Recording(f"{prefix}{i}", f"question {i}", lab.tone(200)) for i in range(count)]


def count_errors(reference: str, heard: str) -> tuple[int, int]:
    expected, words = reference.split(), heard.split()
    return sum(a != b for a, b in zip(expected, words, strict=False)), len(expected)


def options_for(url="ws://unused", **changes) -> BenchOptions:
    options = BenchOptions(
        url,
        turns=4,
        turns_per_call=2,
        call_counts=(2, 4),
        stagger_s=0.37,
        barge_ins=1,
        interrupt_after_ms=300.0,
        history_turns=2,
        call=CallOptions(session=SessionOptions(duplex=True), gap_ms=200),
        models={"brain": "a <fake> one"},
        command="duplex bench",
        ready_s=1.25,
        server_pid=os.getpid(),
    )
    return replace(options, **changes)


@pytest.fixture(scope="module")
def outcome(lab, tmp_path_factory):
    """One run, looked at by several tests."""
    server = lab.FakeServer(
        answer=lab.tone(800), hangover_ms=200, delay_ms=300, capacity=3, marks=MARKS
    )
    silence = lab.tone(250) * 0
    paused = Recording("p0", "one two", np.concatenate([lab.tone(200), silence, lab.tone(200)]))

    async def scenario():
        async with lab.running(server):
            return await bench(
                options_for(server.url),
                recordings(lab, 3),
                pauses=[paused],
                long_turns=recordings(lab, 1, "l"),
                transcribe=lambda samples: f"answer {len(samples)}",
                count_errors=count_errors,
            )

    result = lab.run(scenario())
    folder = tmp_path_factory.mktemp("report")
    return server, result, write_report([result, replace(result, condition="again")], folder)


def test_every_scenario_ran_as_planned(outcome):
    _, result, _ = outcome
    shape = [(g.scenario, g.callers, len(g.calls), len(g.turns)) for g in result.groups]
    assert shape == [
        ("single", 1, 2, 4),
        ("concurrent", 2, 2, 4),
        ("concurrent", 4, 4, 6),
        ("pauses", 1, 1, 1),
        ("barge-in", 1, 1, 2),
        ("long", 1, 1, 1),
        ("history", 1, 1, 2),
    ]


def test_the_known_delay_is_what_is_measured(outcome):
    _, result, _ = outcome
    delay = result.group("single").v2v
    assert delay.n == 4
    assert delay.p50 == pytest.approx(300, abs=0.1)
    assert delay.p95 == pytest.approx(300, abs=0.1)
    assert result.group("single").mark("first_token").p50 == 230


def test_calls_past_the_capacity_are_counted_not_failed(outcome):
    server, result, _ = outcome
    group = result.group("concurrent", 4)
    assert server.most_calls == 3
    assert group.refused == 1
    assert next(call.refused for call in group.calls if call.refused).endswith(
        "all lines are busy (close code 1013)"
    )
    assert group.unanswered == 0


def test_cut_offs_are_counted_with_their_pause(outcome):
    _, result, _ = outcome
    group = result.group("pauses")
    assert group.cut_offs == 1
    assert group.turns[0].longest_pause_ms == pytest.approx(250, abs=10)
    assert result.group("single").cut_offs == 0


def test_words_are_scored_only_where_they_were_heard_whole(outcome):
    _, result, _ = outcome
    first, second = result.group("barge-in").turns
    assert first.answer_heard is None
    assert second.turn.interrupted
    assert second.answer_heard == f"answer {800 * 16}"
    single = result.group("single").turns[0]
    assert single.question_errors == WordErrors(0, 2)
    assert single.answer_errors == WordErrors(1, 2)
    assert result.answer_errors.rate == pytest.approx(0.5)


def test_memory_is_watched(outcome):
    _, result, _ = outcome
    assert all(group.peak_mib > 10 for group in result.groups)
    assert result.idle_mib > 10


def test_the_goals_tell_what_falls_short(outcome):
    _, result, _ = outcome
    by_name = {entry.name: entry for entry in outcomes(result)}
    assert by_name["voice-to-voice p50"].met is True
    assert by_name["voice-to-voice p50"].count == "4 of 4 turns, cut-offs 0"
    assert by_name["p50 of 4 calls over one"].measured == "1.00 x"
    assert by_name["answers' WER"].met is False
    assert by_name["time to ready"].measured == "1.25 s"
    unmeasured = outcomes(replace(result, groups=(), ready_s=None))
    assert {entry.met for entry in unmeasured} == {None}


def test_the_json_holds_every_turn(outcome):
    _, result, (path, _) = outcome
    table = json.loads(path.read_text())
    first, second = table["results"]
    assert (first["condition"], second["condition"]) == ("default", "again")
    assert first["machine"]["cores"] >= 1
    turns = [turn for g in first["groups"] for call in g["calls"] for turn in call["turns"]]
    assert len(turns) == len(result.turns)
    assert turns[0]["marks"] == MARKS
    assert turns[0]["v2v_ms"] == pytest.approx(300, abs=0.1)
    assert turns[0]["question"] == "question 0"
    assert turns[0]["answer"] == "answer 0"
    assert "answer_samples" not in turns[0]


def test_the_page_is_whole_and_needs_nothing_else(outcome):
    _, _, (_, path) = outcome
    page = Page()
    text = path.read_text()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.links == []
    assert "script" not in page.tags
    assert "http://" not in text
    words = " ".join(page.words)
    for expected in ("met", "missed", "a <fake> one", "4 calls at a time", "cut off 1 x", "p95"):
        assert expected in words
    assert page.tags.count("circle") > 30


def test_nothing_to_show_is_still_a_page(outcome, tmp_path):
    _, result, _ = outcome
    _, path = write_report(replace(result, groups=(), idle_mib=None), tmp_path)
    page = Page()
    page.feed(path.read_text())
    assert page.open == []
    with pytest.raises(ValueError, match="no result"):
        write_report([], tmp_path)


def test_unanswered_turns_do_not_break_the_report(lab, tmp_path):
    server = lab.FakeServer(answer=lab.tone(100), mute=True)

    async def scenario():
        async with lab.running(server):
            options = options_for(
                server.url,
                scenarios=("single", "barge-in", "history"),
                call=CallOptions(answer_timeout_s=2),
                server_pid=None,
            )
            return await bench(options, recordings(lab, 2))

    result = lab.run(scenario())
    assert result.group("single").unanswered == 4
    assert result.group("single").v2v is None
    _, path = write_report(result, tmp_path)
    page = Page()
    page.feed(path.read_text())
    assert "no answer within 2 s" in " ".join(page.words)


def test_a_call_that_is_lost_is_a_finding(lab, tmp_path):
    server = lab.FakeServer(answer=lab.tone(100), hang_up_after=75)

    async def scenario():
        async with lab.running(server):
            options = options_for(server.url, scenarios=("single", "concurrent"), server_pid=None)
            return await bench(options, recordings(lab, 2))

    result = lab.run(scenario())
    assert [group.lost for group in result.groups] == [2, 2, 4]
    assert result.group("single").calls[0].turns[0].turn.v2v_ms == pytest.approx(400, abs=0.1)
    assert result.group("single").unanswered == 2
    write_report(result, tmp_path)


def test_plans_spread_the_questions(lab):
    asked = recordings(lab, 5)
    plans = plan(options_for(turns=5, scenarios=("single", "concurrent")), asked, [], [])
    said = [[[line.recording.id for line in call] for call in calls] for _, _, calls in plans]
    assert said[0] == [["q0", "q1"], ["q2", "q3"], ["q4"]]
    assert said[1] == [["q0", "q1"], ["q2", "q3"]]
    assert said[2][2] == ["q4", "q0"]


def test_mistakes_are_told(lab):
    with pytest.raises(ValueError, match="unknown scenario singel"):
        lab.run(bench(options_for(scenarios=("singel",)), recordings(lab, 1)))
    with pytest.raises(ValueError, match="no questions"):
        lab.run(bench(options_for(), []))
    with pytest.raises(Unreachable):
        lab.run(bench(options_for("ws://127.0.0.1:1"), recordings(lab, 1)))


def test_word_errors_are_pooled_over_words():
    assert pooled([WordErrors(1, 2), None, WordErrors(0, 8)]) == WordErrors(1, 10)
    assert pooled([None]) is None
    assert WordErrors(0, 0).rate == 0
