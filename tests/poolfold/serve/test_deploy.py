"""deploy/: what the container runs runs, and Kubernetes' example asks for what is there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import yaml

from exporter.commands.cli import cli
from tests.artifacts import write_artifact
from tests.poolfold.serve.running import serving

ROOT = Path(__file__).parents[3]
CONTAINER = (ROOT / "deploy" / "Containerfile").read_text()
(DEPLOYMENT, SERVICE) = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
(POD,) = DEPLOYMENT["spec"]["template"]["spec"]["containers"]


def entry() -> list[str]:
    return json.loads(re.search(r"^ENTRYPOINT (.*)$", CONTAINER, re.M)[1])


def test_the_containers_entry_is_a_command_that_parses() -> None:
    program, name, *arguments = entry()
    assert program == "poolfold"
    parsed = cli.commands[name].make_context(name, arguments + POD["args"]).params
    assert (parsed["host"], parsed["port"]) == ("0.0.0.0", 8080)
    assert DEPLOYMENT["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > parsed["seconds"] + 5


def test_what_the_image_copies_is_there() -> None:
    for line in re.findall(r"^COPY (?!--from)(.*)$", CONTAINER, re.M):
        for source in shlex.split(line)[:-1]:
            assert "${" in source or (ROOT / source).exists(), source
    assert re.search(r"^USER \d+:\d+$", CONTAINER, re.M), "Kubernetes takes no name for what is not root"


def test_probes_ports_and_read_only_files_fit_the_service(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    before = sorted(tmp_path.rglob("*"))
    with serving(tmp_path / "table", *POD["args"], environment={"HOME": "/nonexistent"}) as service:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert service.ask(POD[probe]["httpGet"]["path"])[0] == 200
            assert POD[probe]["httpGet"]["port"] == 8080
        assert service.ask("/embed", {"inputs": "w3"})[0] == 200
    assert sorted(tmp_path.rglob("*")) == before
    assert SERVICE["spec"]["ports"][0]["targetPort"] == POD["ports"][0]["containerPort"] == 8080
    assert SERVICE["spec"]["selector"] == DEPLOYMENT["spec"]["selector"]["matchLabels"]
    assert POD["securityContext"]["readOnlyRootFilesystem"]
