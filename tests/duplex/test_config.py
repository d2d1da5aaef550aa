"""Configuration: defaults, a file over them, options over that, and errors that name the key."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from duplex.config import Config, load_config
from duplex.errors import ConfigError
from duplex.toml_file import parse_assignment


def test_without_a_file_the_defaults_hold() -> None:
    assert load_config(None) == Config()


def test_options_go_over_the_file_and_none_means_not_given(tmp_path: Path) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text("[server]\nport = 9000\nhost = '0.0.0.0'\n")
    config = load_config(path, {"server.port": 9001, "server.host": None})
    assert (config.server.host, config.server.port) == ("0.0.0.0", 9001)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[server]\nprot = 1", "prot"),
        ("[sever]\nport = 1", "sever"),
        ("[server]\nport = 'x'", "server.port"),
        ("[server]\nport = 99999", "server.port"),
        ("[brain]\nkind = 'magic'", "brain.kind"),
        ("[server", "duplex.toml"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_config(path)


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_config(tmp_path / "none.toml")


def test_the_cache_follows_the_environment_at_call_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert Config().cache_dir() == Path("/somewhere/duplex-r1")


def test_the_example_shows_every_option_with_its_default() -> None:
    path = Path(__file__).parents[2] / "duplex.example.toml"
    assert load_config(path) == Config()
    shown = {(s, k) for s, table in tomllib.loads(path.read_text()).items() for k in table}
    known = {(s, k) for s, table in msgspec.to_builtins(Config()).items() for k in table}
    assert shown == known


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("server.port=1", ("server.port", 1)),
        ("brain.incremental_prefill=true", ("brain.incremental_prefill", True)),
        ("ear.model=whisper-base", ("ear.model", "whisper-base")),
    ],
)
def test_single_options(text: str, read: tuple[str, object]) -> None:
    assert parse_assignment(text) == read


@pytest.mark.parametrize("text", ["port=1", "server.port", "a.b.c=1"])
def test_single_options_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        parse_assignment(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("server = 3", "server"),
        ("[turn]\nhangover_ms = 2000", "unfinished_ms"),
        ("[turn]\nidle_prompt_s = 3.0", "idle_prompt_s"),
        ("[phone]\nmax_call_s = 15", "leaves a call 15 s"),
        ("[phone]\nmax_cost = 0.1\ncost_per_minute = 0.5", "leaves a call 12 s"),
    ],
)
def test_what_only_looks_right_is_refused_too(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_config(path, {"server.port": 1})


def test_lengths_suit_the_kind_of_brain_unless_they_are_given() -> None:
    def lengths(**options: object) -> tuple[int, int]:
        brain = load_config(None, {f"brain.{key}": value for key, value in options.items()}).brain
        return brain.context(), brain.thoughts()

    assert lengths() == (2048, 96)
    assert lengths(kind="native") == lengths(kind="vllm") == (8192, 1024)
    assert lengths(kind="native", context_tokens=512, think_tokens=7) == (512, 7)
    with pytest.raises(ConfigError, match="at least 256"):
        lengths(context_tokens=100)


SETTINGS = '[server]\nport = 9000\n[brain]\ninstructions = "Grüße."\n'


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "duplex.toml"
    path.write_bytes(SETTINGS.encode("utf-8-sig"))
    config = load_config(path)
    assert (config.server.port, config.brain.instructions) == (9000, "Grüße.")


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-16"),
        ("latin-1", "line 4 is not in UTF-8"),
    ],
)
def test_another_encoding_is_told_in_one_line(tmp_path: Path, encoding: str, told: str) -> None:
    path = tmp_path / "duplex.toml"
    path.write_bytes(SETTINGS.encode(encoding))
    with pytest.raises(ConfigError, match=told) as error:
        load_config(path)
    assert "save it so" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[server]\nprot = 1", "'port'"),
        ("[sever]\nport = 1", "'server'"),
        ("[assistants.bob]\ngreting = 'Hi.'", "'greeting'"),
    ],
)
def test_a_name_that_is_nearly_right_is_found(tmp_path: Path, text: str, meant: str) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"did you mean {meant}"):
        load_config(path)


def test_what_is_like_nothing_is_only_named(tmp_path: Path) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text("[server]\nxyzzy = 1")
    with pytest.raises(ConfigError, match=r"xyzzy[^?]*$"):
        load_config(path)


def test_a_trusted_proxy_is_a_network() -> None:
    with pytest.raises(ConfigError, match=r"server\.trusted_proxies: 'localhost'"):
        load_config(None, {"server.trusted_proxies": ["localhost"]})
    load_config(None, {"server.trusted_proxies": ["::1", "10.0.0.0/8"]})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\nport = 'x'", "server.port is 'x' and must be a whole number"),
        (
            "[server]\nport = 99999",
            "server.port is 99999 and must be a whole number, at most 65535",
        ),
        ("[server]\nprot = 1", "[server] has no option 'prot': did you mean 'port'?"),
        ("[sever]\nport = 1", "there is no table 'sever': did you mean 'server'?"),
        ("server = 3", "server is 3 and must be a table"),
        ("[turn]\nthreshold = 1", "turn.threshold is 1 and must be a number, less than 1.0"),
        ("[brain]\nthinking = 'befor'", "brain.thinking is 'befor' and may be 'off', 'before', "),
        ("[brain]\nthinking = 'befor'", "did you mean 'before'?"),
        ("[brain]\nincremental_prefill = 'no'", "is 'no' and must be true or false"),
        ("[voice]\nothers = 3", "voice.others is 3 and must be a list in brackets"),
        ("[voice]\nothers = ['a', 3]", "voice.others[1] is 3 and must be text in quotes"),
        ("[assistants.bob]\ntools = ['hang']", "assistants.bob.tools[0] is 'hang' and may be"),
        ("[assistants.al]\n[assistants.bob]\nvoice = 1", "assistants.bob.voice is 1 and must"),
        ("[native]\ntop_p = 'x'", "native.top_p is 'x' and"),
        ("[dialogue]\nnot_understood = 3", "dialogue.not_understood is 3 and"),
        ("[dialogue]\nno_answer = false", "dialogue.no_answer is false and must"),
        ("[brain]\nkind = 'hugingface'", "NAME: did you mean 'huggingface'?"),
        ("[brain.vllm]\ndtype = 'bfloat16'", '[brain.vllm] is for brain.kind = "vllm"'),
        ("[brain]\nthinking = 'think_first'", 'needs brain.kind = "native" or "vllm"'),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_the_file(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert told in str(error.value)
    for word in ("$", "`", "Object", "enum", "Expected"):
        assert word not in str(error.value)
