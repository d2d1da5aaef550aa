"""The deployment files are valid, and speak of options, pages and metrics that there are."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from duplex.config import load_config
from duplex.metrics import Metrics
from duplex.toml_file import parse_assignment

DOCKER = Path(__file__).parents[2] / "docker"
HAPROXY = DOCKER / "haproxy.cfg"
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def exported() -> str:
    metrics = Metrics()
    return metrics.render(
        {
            "duplex_calls_open": 1,
            "duplex_calls_limit": 4,
            "duplex_sockets_open": 1,
            "duplex_tasks": 1,
            "duplex_event_loop_lag_p95_seconds": 0.0,
        }
    )


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_valid(path: Path) -> None:
    command = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("passed") + result.stderr.count("passed") == len(documents(path))


def test_a_wrong_manifest_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    text = (DOCKER / "kubernetes" / "duplex.yaml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("readinessProbe", "readyProbe"), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", str(wrong)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode != 0


def test_the_compose_file_is_valid_and_its_servers_are_those_of_the_proxy() -> None:
    path = DOCKER / "compose.yaml"
    program = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [program, "--builtin-schema", "vendor.compose-spec", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    (compose,) = documents(path)
    edges = {name: s for name, s in compose["services"].items() if name.startswith("edge-")}
    for name, service in edges.items():
        given = [word.removeprefix("--set=") for word in service["command"][1:]]
        options = dict(parse_assignment(word) for word in given if not word.startswith("--"))
        assert load_config(None, options).store.edge == name.removeprefix("edge-")
    proxied = re.findall(r"^  server (\S+) (\S+):8765$", HAPROXY.read_text("utf-8"), re.MULTILINE)
    assert {host for _, host in proxied} == set(edges)
    prometheus = yaml.safe_load((DOCKER / "prometheus.yml").read_text("utf-8"))
    (job,) = prometheus["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{name}:8765" for name in edges]


def test_the_configuration_in_the_manifest_is_one_of_ours(tmp_path: Path) -> None:
    by_kind = {d["kind"]: d for d in documents(DOCKER / "kubernetes" / "duplex.yaml")}
    file = tmp_path / "duplex.toml"
    file.write_text(by_kind["ConfigMap"]["data"]["duplex.toml"], encoding="utf-8")
    config = load_config(file)
    pod = by_kind["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > config.server.drain_s
    assert pod["containers"][0]["ports"][0]["containerPort"] == config.server.port


def test_the_dashboard_shows_metrics_that_are_exported() -> None:
    dashboard = json.loads((DOCKER / "grafana" / "duplex.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = {name for query in queries for name in re.findall(r"duplex_[a-z0-9_]+", query)}
    families = set(re.findall(r"^# TYPE (\w+)", exported(), re.MULTILINE))
    assert len(named) > 10
    assert {name.removesuffix("_bucket") for name in named} <= families
