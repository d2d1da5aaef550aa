"""Laws of merging, and a configuration that clients can read back."""

import json
from copy import deepcopy
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins
from openai.types.realtime.realtime_session_create_response import RealtimeSessionCreateResponse

from duplex.errors import ProtocolError
from duplex.protocol.session_config import (
    AudioInput,
    DuplexOptions,
    Pcma,
    Pcmu,
    SemanticVad,
    ServerVad,
    SessionConfig,
    Transcription,
)

DEFAULT = SessionConfig()
FUNCTION = {"type": "function", "name": "f"}


def listening(**fields: object) -> dict:
    return {"audio": {"input": fields}}


def sounding(**fields: object) -> dict:
    return {"audio": {"output": fields}}


def test_defaults() -> None:
    assert DEFAULT.audio.input == AudioInput(
        turn_detection=ServerVad(
            threshold=0.5,
            prefix_padding_ms=300,
            silence_duration_ms=300,
            create_response=True,
            interrupt_response=True,
        )
    )
    assert DEFAULT.output_modalities == ("audio",)


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        (listening(turn_detection={"threshold": 0.7}), ServerVad(threshold=0.7)),
        (
            listening(turn_detection={"type": "server_vad", "interrupt_response": False}),
            ServerVad(interrupt_response=False),
        ),
        (
            listening(turn_detection={"type": "semantic_vad", "eagerness": "high"}),
            SemanticVad(eagerness="high"),
        ),
        (listening(turn_detection=None), None),
        (listening(turn_detection={"create_response": None}), ServerVad()),
    ],
)
def test_turn_detection(update: dict, expected: object) -> None:
    assert DEFAULT.merge(update).audio.input.turn_detection == expected


def test_another_type_replaces_whole() -> None:
    quiet = DEFAULT.merge(listening(turn_detection={"create_response": False}))
    semantic = quiet.merge(listening(turn_detection={"type": "semantic_vad"}))
    assert semantic.audio.input.turn_detection == SemanticVad(create_response=True)


def test_turn_detection_comes_back_from_manual_mode() -> None:
    manual = DEFAULT.merge(listening(turn_detection=None))
    again = manual.merge(listening(turn_detection={"type": "server_vad"}))
    assert again.audio.input.turn_detection == ServerVad()
    with pytest.raises(ProtocolError) as caught:
        manual.merge(listening(turn_detection={"threshold": 0.5}))
    assert caught.value.code == "missing_field"
    assert caught.value.param == "session.audio.input.turn_detection.type"


def test_absent_is_kept_and_null_is_cleared() -> None:
    server = SessionConfig(instructions="House rules.")
    ours = server.merge({"instructions": "Mine.", "tools": [{"type": "function", "name": "f"}]})
    ours = ours.merge(listening(transcription={"model": "whisper-1", "language": "en"}))
    kept = ours.merge({"temperature": 0.8})
    assert (kept.instructions, kept.tools) == ("Mine.", ours.tools)
    cleared = kept.merge(
        {
            "instructions": None,
            "tools": None,
            "temperature": None,
            "audio": {"input": {"transcription": {"language": None}}},
        },
        server,
    )
    assert cleared.instructions == "House rules."
    assert cleared.tools == ()
    assert cleared.temperature is None
    assert cleared.audio.input.transcription == Transcription(model="whisper-1")
    assert cleared.merge(listening(transcription=None)).audio.input.transcription is None
    assert cleared.merge({"audio": None}) == SessionConfig(instructions="House rules.")


@pytest.mark.parametrize("field", ["tracing", "prompt", "include", "temperature"])
def test_null_overrides_a_default_of_the_server(field: str) -> None:
    value = {"tracing": "auto", "prompt": {"id": "p"}, "include": ("a",), "temperature": 1.0}[field]
    server = SessionConfig(**{field: value})  # type: ignore[arg-type]
    assert getattr(server.merge({field: None}, server), field) is None


def test_telephone_formats() -> None:
    config = DEFAULT.merge(
        {
            "audio": {
                "input": {"format": {"type": "audio/pcmu"}},
                "output": {"format": {"type": "audio/pcma"}},
            }
        }
    )
    assert (config.audio.input.format, config.audio.output.format) == (Pcmu(), Pcma())
    assert config.audio.input.format.sample_rate == 8000
    assert config.to_dict()["audio"]["input"]["format"] == {"type": "audio/pcmu"}


def test_a_voice_object_is_its_id() -> None:
    config = DEFAULT.merge(sounding(voice={"id": "joe"}))
    assert config.to_dict()["audio"]["output"]["voice"] == "joe"


def test_null_inside_a_tool_stays() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"default": None}}
    assert DEFAULT.merge({"tools": [tool]}).to_dict()["tools"] == (tool,)


def test_what_clients_see() -> None:
    shown = DEFAULT.merge(listening(turn_detection=None, transcription={"model": "m"})).to_dict()
    assert shown["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "turn_detection": None,
        "transcription": {"model": "m"},
    }
    assert "tracing" not in shown
    assert "duplex" not in shown
    asked = DEFAULT.merge({"duplex": {"metrics": True}})
    assert asked.duplex == DuplexOptions(metrics=True)
    assert asked.to_dict()["duplex"] == {"metrics": True, "thoughts": False, "resume": False}


def test_the_idle_timeout_is_shown_while_it_is_set() -> None:
    patient = DEFAULT.merge(listening(turn_detection={"idle_timeout_ms": 30_000}))
    shown = patient.to_dict()["audio"]["input"]["turn_detection"]
    assert (shown["type"], shown["idle_timeout_ms"]) == ("server_vad", 30_000)
    # null is off, whatever the server's own default
    off = patient.merge(listening(turn_detection={"idle_timeout_ms": None}), patient)
    assert off.audio.input.turn_detection == ServerVad()
    assert "idle_timeout_ms" not in off.to_dict()["audio"]["input"]["turn_detection"]


@pytest.mark.parametrize(
    ("update", "code", "param"),
    [
        ({"type": "translation"}, "invalid_value", "type"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value", "output_modalities"),
        ({"output_modalities": ["video"]}, "invalid_value", "output_modalities[0]"),
        ({"max_output_tokens": 5000}, "invalid_value", "max_output_tokens"),
        ({"max_output_tokens": "some"}, "invalid_value", "max_output_tokens"),
        ({"instructions": 3}, "invalid_value", "instructions"),
        ({"temperature": 10**400}, "invalid_value", "temperature"),
        ({"audio": 3}, "invalid_value", "audio"),
        ({"tools": {}}, "invalid_value", "tools"),
        ({"tools": [3]}, "invalid_value", "tools[0]"),
        ({"tools": [{"type": "mcp"}]}, "unsupported_tool_type", "tools[0].type"),
        ({"tools": [FUNCTION, FUNCTION]}, "invalid_value", "tools[1].name"),
        ({"tool_choice": {"type": "mcp"}}, "unsupported_tool_type", "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "missing_field", "tool_choice.name"),
        ({"duplex": {"metric": True}}, "unknown_field", "duplex.metric"),
        (listening(format={"rate": 16000}), "invalid_value", "audio.input.format.rate"),
        (listening(format={"type": "audio/mp3"}), "invalid_value", "audio.input.format.type"),
        (listening(noise_reduction={}), "missing_field", "audio.input.noise_reduction.type"),
        (
            listening(turn_detection={"threshold": 1.5}),
            "invalid_value",
            "audio.input.turn_detection.threshold",
        ),
        (
            listening(turn_detection={"silence_duration_ms": -1}),
            "invalid_value",
            "audio.input.turn_detection.silence_duration_ms",
        ),
        *(
            (
                listening(turn_detection={"idle_timeout_ms": value}),
                "invalid_value",
                "audio.input.turn_detection.idle_timeout_ms",
            )
            for value in (4999, 30_001)
        ),
        (sounding(speed=3), "invalid_value", "audio.output.speed"),
        (sounding(voice={}), "missing_field", "audio.output.voice.id"),
    ],
)
def test_refusals(update: dict, code: str, param: str) -> None:
    before = to_builtins(DEFAULT)
    with pytest.raises(ProtocolError) as caught:
        DEFAULT.merge({"instructions": "x", **update})
    assert (caught.value.code, caught.value.param) == (code, f"session.{param}")
    assert to_builtins(DEFAULT) == before


def test_free_form_json_has_a_bounded_depth() -> None:
    tool: dict = {}
    for _ in range(200):
        tool = {"a": tool}
    with pytest.raises(ProtocolError) as caught:
        DEFAULT.merge({"tools": [{**FUNCTION, "parameters": tool}]})
    assert caught.value.code == "invalid_value"


FORMATS = st.sampled_from(
    [{"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}, {"type": "audio/pcma"}]
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def objects(**fields: st.SearchStrategy) -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries({}, optional={k: st.none() | v for k, v in fields.items()})


SERVER_VAD = objects(
    threshold=st.floats(0, 1),
    silence_duration_ms=st.integers(0, 5000),
    idle_timeout_ms=st.integers(5000, 30_000),
    create_response=st.booleans(),
    interrupt_response=st.booleans(),
).map(lambda fields: {"type": "server_vad", **fields})
SEMANTIC_VAD = objects(
    eagerness=st.sampled_from(["low", "auto"]), interrupt_response=st.booleans()
).map(lambda fields: {"type": "semantic_vad", **fields})
UPDATES = objects(
    instructions=WORDS,
    output_modalities=st.sampled_from([["text"], ["audio"]]),
    max_output_tokens=st.integers(1, 4096) | st.just("inf"),
    tools=st.lists(
        st.builds(lambda n: {"type": "function", "name": n}, st.sampled_from(["f", "g-1", "h_2"])),
        max_size=2,
        unique_by=lambda tool: tool["name"],
    ),
    tool_choice=st.sampled_from(["auto", "none", {"type": "function", "name": "f"}]),
    temperature=st.floats(0, 2),
    tracing=st.sampled_from(["auto", {"group_id": "g"}]),
    unknown=WORDS,
    duplex=objects(metrics=st.booleans(), thoughts=st.booleans()),
    audio=objects(
        input=objects(
            format=FORMATS,
            turn_detection=SERVER_VAD | SEMANTIC_VAD,
            transcription=objects(model=WORDS, language=WORDS, prompt=WORDS),
            noise_reduction=st.just({"type": "near_field"}),
        ),
        output=objects(format=FORMATS, voice=WORDS, speed=st.floats(0.25, 1.5)),
    ),
)
CONFIGS = st.lists(UPDATES, max_size=3).map(
    lambda updates: reduce(SessionConfig.merge, updates, SessionConfig())
)


@given(CONFIGS, UPDATES)
def test_merging_twice_is_merging_once(config: SessionConfig, update: dict) -> None:
    once = config.merge(update)
    assert once.merge(update) == once


@given(CONFIGS)
def test_nothing_changes_nothing(config: SessionConfig) -> None:
    assert config.merge({}) == config
    assert config.merge(json.loads(json.dumps(config.to_dict()))) == config


@given(CONFIGS, CONFIGS)
def test_a_whole_configuration_replaces_any_other(old: SessionConfig, new: SessionConfig) -> None:
    assert old.merge(to_builtins(new), new) == new


@given(CONFIGS, UPDATES)
def test_only_what_is_named_changes(config: SessionConfig, update: dict) -> None:
    before, after = to_builtins(config), to_builtins(config.merge(update))
    for field in before.keys() - update.keys():
        assert after[field] == before[field]
    sides = update["audio"] or {} if "audio" in update else {}
    if update.get("audio", {}) is not None:
        for side in {"input", "output"} - sides.keys():
            assert after["audio"][side] == before["audio"][side]


@given(CONFIGS)
def test_the_openai_types_accept_it(config: SessionConfig) -> None:
    shown = json.loads(json.dumps({"id": "s", "object": "realtime.session", **config.to_dict()}))
    shown["tools"] = []  # the generated ones lack their parameters
    RealtimeSessionCreateResponse.model_validate(shown, strict=True)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spoilt(draw: st.DrawFn) -> dict:
    """An update with junk somewhere."""
    update = deepcopy(draw(UPDATES))  # strategies share what they sample
    spot = update
    while True:
        key = draw(st.sampled_from([*spot, "audio", "input", "output", "turn_detection"]))
        if isinstance(spot.get(key), dict) and draw(st.booleans()):
            spot = spot[key]
            continue
        spot[key] = draw(JUNK)
        return update


def attempt(config: SessionConfig, update: dict) -> SessionConfig | ProtocolError:
    try:
        return config.merge(update)
    except ProtocolError as error:
        return error


@given(CONFIGS, spoilt())
def test_junk_is_refused_or_ignored(config: SessionConfig, update: dict) -> None:
    merged = attempt(config, update)
    if isinstance(merged, ProtocolError):
        assert str(merged.param).startswith("session")
    else:
        json.dumps(merged.to_dict())
