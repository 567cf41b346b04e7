"""Every example runs as a user would run it, in a folder of its own, and says what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from nfopt.cli import app

# every command with its options
COMMANDS = [
    (name, {option for one in command.params for option in one.opts})
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
]
EXAMPLES = Path(__file__).parent.parent / "examples"
SHOWS = {
    "conditional.py": "given energy 8.0",
    "fit_array.py": "loaded again: the same scores: True",
    "outliers.py": "of the outliers are likelier than half of the normal rows",
    "own_objective.py": "trials were made by add_edges, ",
    "own_space.py": "a random flow of it",
    "pocomc_banana.py": "log evidence by pocoMC: ",
    "plain_optuna.py": "trained for 12 seconds: test NLL",
    "resume.py": "those of before are as they were: True",
    "sbi_two_moons.py": "(1 where it is exact)",
    "search_table.py": "trials, ",
    "to_zuko.py": "three rows drawn by zuko",
    "workers.py": "12 trials by ",
}
NEEDS = {"to_zuko.py": "zuko", "sbi_two_moons.py": "sbi", "pocomc_banana.py": "pocomc"}
CLUSTER = EXAMPLES / "cluster"


def test_every_example_is_run() -> None:
    assert SHOWS.keys() == {path.name for path in EXAMPLES.glob("*.py")}


def test_every_cluster_file_is_looked_at() -> None:
    assert {path.suffix for path in CLUSTER.iterdir()} == {".sh", ".sbatch", ".yaml"}


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("*.s*")), ids=lambda path: path.name)
def test_a_script_parses_and_its_commands_exist(path: Path) -> None:
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"\bnfopt (search|worker|status|serve)\b([^;\n)]*)", path.read_text())
    assert found
    for command, rest in found:
        assert command in {name for name, _ in COMMANDS}
        known = dict(COMMANDS)[command]
        assert set(re.findall(r"--[a-z-]+", rest)) <= known


def test_slurm_hands_the_signal_on() -> None:
    lines = (CLUSTER / "slurm.sbatch").read_text().splitlines()
    options = [line for line in lines if line.startswith("#SBATCH")]
    assert "#SBATCH --signal=B:TERM@30" in options
    assert lines.index(options[-1]) < lines.index("set -euo pipefail")  # Slurm stops at a command
    stub = (
        "nfopt() { trap 'echo ended; exit 143' TERM; echo began >&2; while :; do sleep 0.1; done; }"
    )
    script = "\n".join([stub, "export -f nfopt", *lines[1:]])
    environment = os.environ | {
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_ARRAY_TASK_ID": "0",
        "NFOPT_STORAGE": "journal:///s.log",
    }
    process = subprocess.Popen(
        ["bash", "-c", script, "slurm", "data.csv"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "began\n"
    process.terminate()
    out, _ = process.communicate(timeout=30)
    assert out == "ended\n"
    assert process.returncode == 143


def test_the_kubernetes_job_parses() -> None:
    documents = list(yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text()))
    secret, job = documents
    assert (secret["kind"], job["kind"]) == ("Secret", "Job")
    assert "NFOPT_STORAGE" in secret["stringData"]
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["terminationGracePeriodSeconds"] >= 10
    assert container["envFrom"][0]["secretRef"]["name"] == secret["metadata"]["name"]
    words = container["command"]
    assert words[:2] == ["nfopt", "worker"]
    assert {word for word in words if word.startswith("--")} <= dict(COMMANDS)["worker"]
    assert "://" not in " ".join(words)  # the password is not on a command line


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWS)
def test_an_example(name: str, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,  # under a minute where the machine has nothing else to do
    )
    assert done.returncode == 0, done.stderr
    assert SHOWS[name] in done.stdout
