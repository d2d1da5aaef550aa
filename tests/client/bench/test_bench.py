"""A whole benchmark against a scripted server, and the report of it."""

import asyncio
import json
import os
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from client.bench.compare import compare
from client.bench.metrics import check, figures, from_few, parse_condition
from client.bench.plan import Recordings, Scope, left_out, plan
from client.bench.report import write_report
from client.bench.result import MeasuringError, Report
from client.bench.runner import BenchOptions, Target, bench
from client.bench.stats import summarise
from client.bench.word_errors import WordErrors, pooled
from client.caller.caller import CallOptions
from client.realtime import Unreachable
from client.sound.speech import Recording
from client.telephone.channel import GOOD_LINE, LineConditions

pytestmark = pytest.mark.heavy

MARKS = {
    "pause": 100.0,
    "ear": 180.0,
    "first_token": 230.0,
    "first_audio": 290.0,
    "endpoint": 210.0,
}
STILL_LINE = replace(GOOD_LINE, buffer_ms=60)
SCOPE = Scope(
    turns=4,
    turns_per_call=2,
    call_counts=(2, 4),
    stagger_s=0.37,
    events=2,
    into_answer_ms=(300.0,),
    history_turns=2,
    snr_db=40.0,
    line=STILL_LINE,
)


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


def seen(path) -> Page:
    page = Page()
    page.feed(path.read_text())
    page.close()
    assert page.open == []
    return page


def said(lab, count, prefix="q", duration_ms=200):
    return [Recording(f"{prefix}{i}", f"question {i}", lab.tone(duration_ms)) for i in range(count)]


def everything(lab):
    silence = lab.tone(250) * 0
    paused = Recording("p0", "one two", np.concatenate([lab.tone(200), silence, lab.tone(200)]))
    return Recordings(
        ordinary=said(lab, 3),
        pauses=[paused],
        long=said(lab, 1, "l"),
        interruptions=said(lab, 2, "i"),
        backchannels=said(lab, 1, "b", 60),
    )


def run(lab, servers, scope=SCOPE, recordings=None, *, timeout_s=5.0, **more):
    """Serve, measure, return the results, one for each server."""

    async def scenario():
        async with lab.running(servers[0]), lab.running(servers[-1]):
            targets = [
                Target(server.url, f"server {index}", models={"brain": "a <fake> one"})
                for index, server in enumerate(servers)
            ]
            options = BenchOptions(
                scope, CallOptions(gap_ms=200, answer_timeout_s=timeout_s), "duplex bench"
            )
            return await bench(targets, options, recordings or everything(lab), **more)

    return lab.run(scenario())


@pytest.fixture(scope="module")
def outcome(lab, tmp_path_factory):
    """One run, looked at by several tests."""
    server = lab.FakeServer(
        answer=lab.tone(800), hangover_ms=200, delay_ms=300, capacity=3, marks=MARKS
    )

    async def scenario():
        async with lab.running(server):
            target = Target(
                server.url,
                models={"brain": "a <fake> one"},
                ready_s=1.25,
                server_pid=os.getpid(),
            )
            return await bench(
                [target],
                BenchOptions(SCOPE, CallOptions(gap_ms=200), "duplex bench"),
                everything(lab),
                transcribe=lambda samples: f"answer {len(samples)}",
            )

    (result,) = lab.run(scenario())
    folder = tmp_path_factory.mktemp("report")
    conditions = [parse_condition(text) for text in ("v2v_p50_ms>200", "cut_off_rate>0.5")]
    checks = check(conditions, figures(result), required=True)
    error = summarise([0.5, 1.0, 1.5])
    measuring = MeasuringError(error, None, (0.5, 1.0, 1.5), ())  # type: ignore[arg-type]
    report = Report((result, replace(result, condition="again")), measuring, (), tuple(checks))
    return server, result, write_report(report, folder)


def test_every_scenario_ran_as_planned(outcome):
    _, result, _ = outcome
    shape = [(g.scenario, g.callers, len(g.calls), len(g.turns)) for g in result.groups]
    assert shape == [
        ("short", 1, 2, 4),
        ("long", 1, 1, 1),
        ("pauses", 1, 1, 1),
        ("interruptions", 1, 1, 4),
        ("backchannels", 1, 1, 4),
        ("noise", 1, 2, 4),
        ("phone", 1, 2, 4),
        ("concurrent", 2, 2, 4),
        ("concurrent", 4, 4, 6),
        ("history", 1, 1, 2),
    ]


def test_the_known_delay_is_what_is_measured(outcome):
    _, result, _ = outcome
    delay = result.group("short").v2v
    assert delay.n == 4
    assert delay.p50 == pytest.approx(300, abs=0.1)
    assert delay.p95 == pytest.approx(300, abs=0.1)
    assert result.group("short").mark("first_token").p50 == 230
    assert result.group("noise").v2v.p50 == pytest.approx(300, abs=1)


def test_the_telephone_lines_own_delay_is_what_it_adds(outcome):
    """Twice its buffer, twice the band's filter, and what the line's sampling is coarse by."""
    _, result, _ = outcome
    assert figures(result)["phone_added_ms"] == pytest.approx(120, abs=15)
    assert result.group("phone").turns[0].turn.answer_ms == pytest.approx(800, abs=30)
    assert figures(result)["phone_wer_ratio"] == 1


def test_interruptions_stop_and_are_timed(outcome):
    _, result, _ = outcome
    group = result.group("interruptions")
    into = group.said_into_answers
    assert [turn.turn.question_id for turn in into] == ["i0", "i1"]
    assert len(group.stopped) == 2
    assert group.stop.p50 == pytest.approx(20, abs=0.1)  # the packet the onset came in
    assert figures(result)["missed_stop_rate"] == 0


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
    assert result.group("short").cut_offs == 0


def test_words_are_scored_only_where_they_were_heard_whole(outcome):
    _, result, _ = outcome
    first, second = result.group("interruptions").turns[:2]
    assert first.answer_heard is None
    assert second.turn.interrupted
    assert second.answer_heard == f"answer {800 * 16}"
    short = result.group("short").turns[0]
    assert short.question_errors == WordErrors(0, 2)
    assert short.answer_errors == WordErrors(1, 2)


def test_memory_is_watched(outcome):
    _, result, _ = outcome
    assert all(group.peak_mib > 10 for group in result.groups)
    assert result.idle_mib > 10


@pytest.mark.parametrize(
    ("changes", "stopped", "cut_short", "gaps"),
    [
        ({"resumes": True}, 0, 2, 2),
        ({"resumes": True, "says_so": False}, 0, 2, 2),
        ({"patient": True}, 0, 0, 0),
        ({}, 2, 2, 0),
    ],
)
def test_what_becomes_of_an_answer_after_a_backchannel(lab, changes, stopped, cut_short, gaps):
    """It goes on, in a response of its own or without a break, or it is gone."""
    server = lab.FakeServer(answer=lab.tone(1500), delay_ms=400, **changes)
    (result,) = run(lab, [server], replace(SCOPE, scenarios=("backchannels",)))
    group = result.group("backchannels")
    assert [turn.turn.question_id for turn in group.said_into_answers] == ["b0", "b0"]
    assert len(group.stopped) == stopped
    assert sum(turn.turn.interrupted for turn in group.said_into_answers) == cut_short
    found = figures(result)
    assert found["false_stop_rate"] == stopped / 2
    assert found["false_pause_rate"] == cut_short / 2
    assert (group.resume_gap.n if group.resume_gap else 0) == gaps
    if gaps:  # from the cut, 20 ms after the onset, to 400 ms after the end
        assert found["resume_gap_p50_ms"] == pytest.approx(60 - 20 + 400, abs=1)
    assert group.unanswered == 0
    assert not any(turn.turn.errors for turn in group.turns)


def test_two_servers_take_turns_and_are_compared(lab, tmp_path):
    slow = lab.FakeServer(answer=lab.tone(200), delay_ms=600)
    fast = lab.FakeServer(answer=lab.tone(200), delay_ms=300)
    first, second = run(
        lab, [slow, fast], replace(SCOPE, scenarios=("short", "concurrent"), call_counts=(2,))
    )
    assert [g.scenario for g in first.groups] == [g.scenario for g in second.groups]
    began = [
        [t for t, event in server.received if event["type"] == "session.update"][1:3]
        for server in (slow, fast)
    ]
    assert began[0][0] < began[1][0] < began[1][1] < began[0][1]  # A B, B A
    found = compare(first, second)
    ratio = next(one for one in found if one.figure == "voice-to-voice p50, ms")
    assert (ratio.scenario, ratio.first, ratio.second) == (
        "short",
        pytest.approx(600, abs=0.1),
        pytest.approx(300, abs=0.1),
    )
    assert ratio.ratio.n == 4
    assert ratio.ratio.value == pytest.approx(2, abs=0.01)
    assert ratio.ratio.interval[0] == pytest.approx(2, abs=0.01)
    assert any(one.scenario == "2 concurrent" for one in found)
    data, page = write_report(Report((first, second), compared=tuple(found)), tmp_path)
    table = json.loads(data.read_text())
    assert table["compared"][0]["ratio"]["n"] == 4
    words = " ".join(seen(page).words)
    assert "server 0 against server 1" in words


def test_what_is_compared_with_the_clean_is_asked_in_turn_with_it(lab):
    """A call in the clean, one over the phone, then the other way round."""
    server = lab.FakeServer(answer=lab.tone(200))
    lines: list[str] = []
    scope = replace(SCOPE, scenarios=("phone", "short", "long"))
    (result,) = run(lab, [server], scope, progress=lines.append)
    asked = [line.partition(":")[0] for line in lines if " turns in " not in line]
    assert asked == [*["short"] * 2, *["phone"] * 4, *["short"] * 2, "long"]
    assert [group.scenario for group in result.groups] == ["short", "long", "phone"]


def test_a_server_that_dies_leaves_what_was_measured(lab, tmp_path):
    async def scenario():
        server = lab.FakeServer(answer=lab.tone(100), hang_up_after=75)
        options = BenchOptions(
            replace(SCOPE, scenarios=("short", "noise")), CallOptions(answer_timeout_s=2)
        )
        context = lab.running(server)
        await context.__aenter__()

        async def leave(line):
            if "short: q0" in line:
                server.hang_up_after = 1
                context_gone.append(await context.__aexit__(None, None, None))

        context_gone = []
        tasks = []
        results = await bench(
            [Target(server.url)],
            options,
            everything(lab),
            progress=lambda line: tasks.append(asyncio.ensure_future(leave(line))),
        )
        await asyncio.gather(*tasks)
        return results

    (result,) = lab.run(scenario())
    assert "no server at" in result.aborted
    assert [group.scenario for group in result.groups] == ["short"]
    assert result.group("short").turns[0].turn.v2v_ms == pytest.approx(400, abs=0.1)
    _, page = write_report(Report((result,)), tmp_path)
    assert "the run ended early" in " ".join(seen(page).words)


def test_the_json_holds_every_turn(outcome):
    _, result, (path, _) = outcome
    table = json.loads(path.read_text())
    first, second = table["results"]
    assert table["format"] == 3
    assert (first["condition"], second["condition"]) == ("default", "again")
    assert first["machine"]["cores"] >= 1
    turns = [turn for g in first["groups"] for call in g["calls"] for turn in call["turns"]]
    assert len(turns) == len(result.turns)
    assert turns[0]["marks"] == MARKS
    assert turns[0]["v2v_ms"] == pytest.approx(300, abs=0.1)
    assert turns[0]["question"] == "question 0"
    assert turns[0]["answer"] == "answer 0"
    assert "answer_samples" not in turns[0]
    assert first["metrics"]["v2v_p50_ms"] == pytest.approx(300, abs=0.1)
    assert first["metrics_from_few"]["v2v_p95_ms"] == 4
    assert first["groups"][0]["v2v_ms"]["unsupported"] == ["p95", "p99"]
    assert first["settings"]["line"]["buffer_ms"] == 60
    assert table["measuring_error"]["metrics"]["measuring_bias_ms"] == 1
    assert [one["met"] for one in table["checks"]] == [False, True]


def test_the_page_is_whole_and_needs_nothing_else(outcome):
    _, _, (_, path) = outcome
    page = seen(path)
    assert page.links == []
    assert "script" not in page.tags
    assert "http://" not in path.read_text()
    words = " ".join(page.words)
    for expected in (
        "met",
        "missed",
        "a <fake> one",
        "4 calls at a time",
        "cut off 1 x",
        "p95",
        "The bench's own error",
        "Telephone line",
        "Backchannels",
        "from fewer turns than this percentile needs",
    ):
        assert expected in words
    assert page.tags.count("circle") > 30


def test_nothing_to_show_is_still_a_page(outcome, tmp_path):
    _, result, _ = outcome
    _, path = write_report(Report((replace(result, groups=(), idle_mib=None),)), tmp_path)
    seen(path)
    with pytest.raises(ValueError, match="no result"):
        write_report(Report(()), tmp_path)


def test_unanswered_turns_do_not_break_the_report(lab, tmp_path):
    server = lab.FakeServer(answer=lab.tone(100), mute=True)
    scenarios = ("short", "interruptions", "backchannels", "phone")
    (result,) = run(lab, [server], replace(SCOPE, scenarios=scenarios), timeout_s=2.0)
    assert result.group("short").unanswered == 4
    assert result.group("short").v2v is None
    assert result.group("backchannels").said_into_answers == []
    assert "false_stop_rate" not in figures(result)
    _, path = write_report(Report((result,)), tmp_path)
    assert "no answer within 2 s" in " ".join(seen(path).words)


def test_a_call_that_is_lost_is_a_finding(lab, tmp_path):
    server = lab.FakeServer(answer=lab.tone(100), hang_up_after=75)
    (result,) = run(lab, [server], replace(SCOPE, scenarios=("short", "concurrent")))
    assert [group.lost for group in result.groups] == [2, 2, 4]
    assert result.aborted is None
    assert result.group("short").calls[0].turns[0].turn.v2v_ms == pytest.approx(400, abs=0.1)
    assert result.group("short").unanswered == 2
    assert figures(result)["lost_calls"] == 8
    write_report(Report((result,)), tmp_path)


def test_a_lossy_line_is_survived_and_told(lab):
    server = lab.FakeServer(answer=lab.tone(600), delay_ms=300)
    scope = replace(SCOPE, scenarios=("short", "phone"), line=LineConditions(loss=0.1))
    (result,) = run(lab, [server], scope)
    assert result.group("phone").unanswered == 0
    assert figures(result)["phone_v2v_p50_ms"] > 400


def test_plans_spread_the_questions(lab):
    asked = Recordings(said(lab, 5))
    scope = replace(SCOPE, turns=5, scenarios=("short", "concurrent"))
    ids = [
        [[line.recording.id for line in call] for call in one.calls] for one in plan(scope, asked)
    ]
    assert ids[0] == [["q0", "q1"], ["q2", "q3"], ["q4"]]
    assert ids[1] == [["q0", "q1"], ["q2", "q3"]]
    assert ids[2][2] == ["q4", "q0"]


def test_what_is_said_into_answers(lab):
    recordings = replace(everything(lab), talkative=said(lab, 2, "t"))
    scope = replace(SCOPE, scenarios=("backchannels",), events=3, into_answer_ms=(300.0, 500.0))
    (one,) = plan(scope, recordings)
    lines = [line for call in one.calls for line in call]
    assert [line.recording.id for line in lines] == ["t0", "b0", "t1", "b0", "t0", "b0"]
    assert [line.interrupt_after_ms for line in lines] == [None, 300, None, 500, None, 300]
    assert [line.backchannel for line in lines] == [False, True] * 3
    assert [len(call) for call in one.calls] == [4, 2]


def test_what_has_no_recordings_is_left_out(lab):
    assert left_out(SCOPE, Recordings(said(lab, 1))) == [
        "long",
        "pauses",
        "interruptions",
        "backchannels",
    ]


def test_mistakes_are_told(lab):
    with pytest.raises(ValueError, match="unknown scenario singel"):
        plan(replace(SCOPE, scenarios=("singel",)), everything(lab))
    with pytest.raises(ValueError, match="no questions"):
        plan(SCOPE, Recordings([]))
    with pytest.raises(Unreachable):
        lab.run(bench([Target("ws://127.0.0.1:1")], BenchOptions(SCOPE), everything(lab)))


def test_percentiles_from_few_are_named(outcome):
    _, result, _ = outcome
    few = from_few(result)
    assert few["v2v_p95_ms"] == 4
    assert few["stop_p50_ms"] == 2
    assert "v2v_p50_ms" not in few


def test_word_errors_are_pooled_over_words():
    assert pooled([WordErrors(1, 2), None, WordErrors(0, 8)]) == WordErrors(1, 10)
    assert pooled([None]) is None
    assert WordErrors(0, 0).rate == 0
