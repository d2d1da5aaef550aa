"""Stock clients, as they come from their packages, against a real server with scripted models.

Each runs in an environment of its own, which `make clients` makes, as one process that tries all
features and reports. What was found is kept in out/clients.json; see table.py.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".venv-clients"
FOUND = ROOT / "out" / "clients.json"
LIMIT_S = 240
FEATURES = ("greeting", "spoken turn", "barge-in", "tool call", "manual turn")
GOES_ON = "turn that goes on"  # of clients that follow the deletion of items


@dataclass(frozen=True)
class Client:
    """``driver`` is a path beside this file; ``environment`` a folder's name."""

    environment: str
    driver: str

    def run(self, urls: str) -> subprocess.CompletedProcess[str]:
        """Drive it through all features."""
        environment = ENVIRONMENTS / self.environment
        if not (environment / ".installed").exists():
            pytest.skip(f"no environment in {environment}: run `make clients`")
        driver = str(HERE / self.driver)
        in_node = driver.endswith(".cjs")
        program = "node" if in_node else str(environment / "bin" / "python")
        return subprocess.run(
            [program, driver, urls],
            cwd=environment,
            env={**os.environ, "PYTHONPATH": str(HERE / "common")},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,  # the report says it
        )


CLIENTS = {
    "openai GA": Client("openai_sdk", "openai_sdk/ga.py"),
    "openai beta": Client("openai_sdk", "openai_sdk/beta.py"),
    "pipecat": Client("pipecat_service", "pipecat_service/drive.py"),
    "livekit": Client("livekit_plugin", "livekit_plugin/drive.py"),
    "agents-js": Client("agents_js", "agents_js/drive.cjs"),
    "agents-js beta": Client("agents_js_beta", "agents_js/drive.cjs"),
}
Results = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def urls() -> Iterator[str]:
    """The addresses of a server in a process of its own, as it printed them."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    with server:
        try:
            line = server.stdout.readline()
            assert line.startswith("{"), f"the server printed {line!r}"
            yield line.strip()
        finally:
            server.stdin.close()
    assert server.returncode == 0


@pytest.fixture(scope="module")
def results(urls: str) -> Iterator[Results]:
    """Client -> feature -> "ok" or what went wrong. Each client runs once, when first asked for."""
    table: dict[str, dict[str, str]] = {}

    @cache
    def of(name: str) -> dict[str, str]:
        done = CLIENTS[name].run(urls)
        sys.stderr.write(done.stderr)
        if done.returncode != 0:
            return dict.fromkeys(FEATURES, f"the driver ended with {done.returncode}")
        report = json.loads(done.stdout.strip().splitlines()[-1])
        features: dict[str, str] = report["features"]
        table[report["client"]] = features
        return features

    yield of
    FOUND.parent.mkdir(exist_ok=True)
    FOUND.write_text(json.dumps(table, indent=2) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("client", ["openai GA", "openai beta"])
def test_a_recording_in_an_item_is_answered(client: str, results: Results) -> None:
    assert results(client).get("recorded item") == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("client", CLIENTS)
def test_it_works(client: str, feature: str, results: Results) -> None:
    assert results(client)[feature] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("client", ["openai GA", "livekit", "agents-js", "agents-js beta"])
def test_a_turn_may_go_on(client: str, results: Results) -> None:
    assert results(client)[GOES_ON] == "ok"
