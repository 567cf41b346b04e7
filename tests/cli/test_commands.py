"""Every command on tiny data: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from typer.testing import CliRunner

import nfopt
from nfopt.cli import app, run
from nfopt.cli.app import COMMANDS
from nfopt.cli.options import SAMPLERS
from nfopt.cli.reading import bounds_of, names, split_of
from nfopt.events import Started
from nfopt.study import sampler as samplers

from .house import SEARCH, furnish, snapshot, tiny_recipes

KEYS = {"study", "trials", "best", "test_nll", "test_nll_2se", "parameters", "seconds", "out"}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("furnished")
    furnish(folder, study=True)
    return folder


@pytest.fixture
def home(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the furnished folder, to work in."""
    folder = tmp_path / "with a space"
    shutil.copytree(furnished, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NFOPT_STORAGE", raising=False)
    tiny_recipes(monkeypatch)
    return folder


class Ran:
    """What a command gave back."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def nf(capfd: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str, code: int = 0) -> Ran:
        capfd.readouterr()
        got = run(words)
        ran = Ran(got, *capfd.readouterr())
        assert got == code, ran.err
        return ran

    return call


def test_the_version(nf: Any) -> None:
    assert nf("--version").out == f"nfopt {nfopt.__version__}\n"


def test_every_command_has_an_example_that_it_understands(nf: Any) -> None:
    help_of_all = nf("--help").out
    for command, example in COMMANDS:
        said = " ".join(nf(command.__name__, "--help").out.split())
        assert example in said.replace(" │", "")
        assert command.__name__ in help_of_all
        for option in re.findall(r"--[a-z-]+", example):
            assert option in said


def test_the_plain_application_works_too() -> None:
    assert CliRunner().invoke(app, ["status", "--help"]).exit_code == 0


def test_a_search_tells_programs_what_it_found_and_goes_on(home: Path, nf: Any) -> None:
    words = [*SEARCH, "--study", "mine", "--columns", "a,b,c", "--json"]
    first = nf(*words, "--trials", "2")
    assert first.json.keys() >= KEYS
    assert first.json["study"] == "mine"
    assert first.json["best"].keys() == {"number", "validation_nll"}
    assert first.out.count("\n") == 1
    assert (home / "nfopt-runs" / "mine" / "flow.json").is_file()
    assert first.json["out"] == str(Path("nfopt-runs") / "mine")
    assert "study 'mine' is new" in first.err
    again = nf(*words, "--trials", "3")
    assert "study 'mine' resumes" in again.err
    assert (first.json["trials"], again.json["trials"]) == (2, 3)


def test_a_search_tells_people_what_to_do_next(home: Path, nf: Any) -> None:
    storage = f"sqlite:///{home}/elsewhere.db"
    words = ("--trials", "2", "--storage", storage, "--study", "größe 2", "--out", "my flow")
    said = nf(*SEARCH, *words).out
    for part in (
        "validation log-likelihood",
        "test log-likelihood",
        "2 s.e.",
        "parameters",
        "my flow",
        "nfopt sample 'my flow' --rows 1000",
        "nfopt status 'größe 2' --storage",
    ):
        assert part in said
    assert (home / "my flow" / "flow.safetensors").is_file()
    assert not (home / "nfopt-runs" / "größe 2").exists()


def test_the_storage_comes_from_the_environment(
    home: Path, nf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NFOPT_STORAGE", "sqlite:///other.db")
    assert nf("status").out.startswith("No studies in sqlite:///other.db")
    assert not (home / "other.db").exists()


def test_fit_gives_an_ensemble(home: Path, nf: Any) -> None:
    words = ("data.csv", "--members", "2", "--context", "größe", "--out", "x")
    told = nf("fit", *words, "--bounds", "a=-99:", "--seed", "3", "--json").json
    assert told["members"] == 2
    assert {"validation_nll", "test_nll", "test_nll_2se", "parameters", "seconds"} <= told.keys()
    nf("export", "x", "--to", "zuko", "--out", "z")
    nf("export", "x", "--to", "zuko", "--out", "one", "--member", "1")
    counts = [
        len(json.loads(Path(f, "zuko_flow.json").read_text())["members"]) for f in ("z", "one")
    ]
    assert counts == [2, 1]
    flow = nfopt.load("x")
    assert len(flow) == 2
    assert flow.columns == ("a", "b", "c")
    assert flow.context_columns == ("größe",)


def test_retrain_trains_a_trial_again(home: Path, nf: Any) -> None:
    best = nf("status", "toy", "--json").json["best"]["number"]
    told = nf("retrain", "toy", "--trial", str(best), "--data", "data.csv", "--out", "x", "--json")
    assert told.json["best"]["number"] == best
    assert told.json["study"] == "toy"
    assert nfopt.load("x").columns == ("a", "b", "c", "größe")


def test_retrain_makes_a_delivered_flow_again(home: Path, nf: Any) -> None:
    fitted = nf("fit", "data.csv", "--members", "2", "--bounds", "a=-9:9", "--out", "x", "--json")
    told = nf("retrain", "data.csv", "--from", "x/flow.json", "--out", "y", "--json").json
    for key in ("test_nll", "members", "members_test_nll", "parameters"):
        assert told[key] == fitted.json[key]
    assert told["delivered"]["test_nll"] == told["test_nll"]
    assert told["exact"]
    said = nf("retrain", "data.csv", "--from", "y").out
    assert "step for step" in said
    assert "the same" in said
    assert (home / "nfopt-runs" / "data-again" / "flow.json").is_file()
    for words in (("--trial", "1"), ("--data", "data.csv"), ("--minutes", "1"), ("--seed", "1")):
        refused = nf("retrain", "data.csv", "--from", "x", *words, code=2).err
        assert f"`{words[0]}` does not go with `--from`" in refused
    assert "`--trial` is missing" in nf("retrain", "toy", code=2).err
    pd.read_csv("data.csv")[1:].to_csv("other.csv", index=False)
    said = nf("retrain", "other.csv", "--from", "x/flow.json", code=2).err
    assert "is not what the flow was trained on" in said


def test_status_reads_and_writes_nothing(home: Path, nf: Any) -> None:
    before = snapshot(home)
    assert "toy" in nf("status").out
    told = nf("status", "--json").json
    assert [one["study"] for one in told["studies"]] == ["toy"]
    one = nf("status", "toy", "--json").json
    assert one["trials"] == one["states"]["complete"] + one["states"]["pruned"] == 2
    assert one["budget"] == {"trials": 2, "minutes": None}
    said = nf("status", "toy").out
    for part in (
        "Study toy",
        "data",
        "complete",
        "2 trials",
        "affine coupling",
        "nfopt retrain toy",
    ):
        assert part in said
    assert snapshot(home) == before


def test_status_of_a_study_that_is_not_ours(home: Path, nf: Any) -> None:
    study = optuna.create_study(study_name="plain", storage="sqlite:///plain.db")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert "plain" in nf("status", "--storage", "sqlite:///plain.db").out


def test_scores_of_rows_with_other_columns_about(home: Path, nf: Any) -> None:
    frame = pd.read_csv("data.csv")
    expected = nfopt.load("model").log_prob(frame[["a", "b"]].to_numpy())
    frame[["größe", "b", "a"]].to_csv("turned round.csv", index=False)
    ran = nf("score", "model", "turned round.csv")
    lines = ran.out.splitlines()
    assert lines[0] == "log_likelihood"
    np.testing.assert_allclose([float(line) for line in lines[1:]], expected, rtol=1e-5)
    assert f"{expected.mean():.2f}" in ran.err
    assert "2 s.e." in ran.err
    for name in ("s.csv", "s.parquet", "s.npy"):
        told = nf("score", "model", "data.csv", "--out", name, "--json").json
        assert told["rows"] == 300
        assert told["log_likelihood"] == pytest.approx(expected.mean(), rel=1e-5)
    np.testing.assert_allclose(np.load("s.npy")[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(pd.read_parquet("s.parquet")["log_likelihood"], expected, rtol=1e-5)
    assert sorted(p.name for p in home.glob(".*")) == []


def test_one_row_has_no_standard_error(home: Path, nf: Any) -> None:
    Path("one.csv").write_text("a,b\n0.1,0.2\n")
    assert "s.e." not in nf("score", "model", "one.csv").err
    assert nf("score", "model", "one.csv", "--json").json["log_likelihood_2se"] is None


def test_new_rows_by_the_ending(home: Path, nf: Any) -> None:
    first = nf("sample", "model", "--rows", "20", "--seed", "4").out
    assert first == nf("sample", "model", "-n", "20", "--seed", "4").out
    assert first != nf("sample", "model", "-n", "20").out
    assert first.splitlines()[0] == "a,b"
    expected = nfopt.load("model").sample(20, seed=4)
    for name, read in (
        ("n.csv", lambda p: pd.read_csv(p).to_numpy()),
        ("n.parquet", lambda p: pd.read_parquet(p).to_numpy()),
        ("n.npy", np.load),
    ):
        ran = nf("sample", "model", "--rows", "20", "--seed", "4", "--out", name)
        assert ran.out == ""
        np.testing.assert_allclose(read(name), expected)


def test_new_rows_given_a_context(home: Path, nf: Any) -> None:
    nf("sample", "conditional", "--context", "context.csv", "--out", "n.csv")
    drawn, given = pd.read_csv("n.csv"), pd.read_csv("context.csv")
    assert list(drawn.columns) == ["a", "b", "c"]
    np.testing.assert_allclose(drawn["c"], given["c"])
    Path("one.csv").write_text("c\n0.5\n")
    nf("sample", "conditional", "--context", "one.csv", "--rows", "7", "--out", "n.csv")
    assert pd.read_csv("n.csv")["c"].tolist() == [0.5] * 7


def test_export_writes_a_zuko_flow(home: Path, nf: Any) -> None:
    pytest.importorskip("zuko")
    assert "zuko_flow" in nf("export", "model", "--to", "zuko").out
    folder = home / "model" / "zuko"
    assert (folder / "zuko_flow.safetensors").is_file()
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    said = nf("export", "model", "--to", "zuko", code=2).err
    assert "is there already and not empty: remove it, or choose another" in said
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written


@pytest.mark.parametrize(
    ("to", "function", "loads"),
    [
        ("torch-export", "write_torch_export", "torch.export.load"),
        ("onnx", "write_onnx", "onnxruntime.InferenceSession"),
    ],
)
def test_export_writes_programs(
    to: str, function: str, loads: str, home: Path, nf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write(flow: nfopt.Flow, folder: Path, *, member: int | None) -> Path:
        written.append((flow.columns, folder, member))
        return folder

    monkeypatch.setattr(f"nfopt.export.{function}", write)
    assert loads in nf("export", "model", "--to", to).out
    nf("export", "model", "--to", to, "--out", "there", "--member", "1")
    columns = nfopt.load("model").columns
    wanted = [(columns, Path("model") / to, None), (columns, Path("there"), 1)]
    assert written == wanted
    (home / "model" / to).mkdir()
    (home / "model" / to / "mine").write_text("")
    said = nf("export", "model", "--to", to, code=2).err
    assert "is there already and not empty: remove it, or choose another" in said
    assert len(written) == 2


def test_columns_bounds_and_splits_as_they_are_written() -> None:
    assert names(["a, b", '"c, d",2'], "columns") == ["a", "b", "c, d", 2]
    assert bounds_of(["x=y=-1:2e3", "b=:0"]) == {"x=y": (-1.0, 2000.0), "b": (None, 0.0)}
    assert split_of("group: run") == ("group", "run")


def test_the_samplers_offered_are_those_there_are() -> None:
    assert set(SAMPLERS) == set(samplers.SAMPLERS)


# ------------------------------------------------------------------------------- when it ends early


@pytest.mark.parametrize(("word", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interruption_says_how_to_resume(
    word: str, code: int, home: Path, nf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, on_event: Any, **__: object) -> None:
        on_event(Started("mine", "sqlite:///x.db", "tpe", 4, 0, None, 60.0, False))
        raise KeyboardInterrupt(word)

    monkeypatch.setattr("nfopt.api.search", stopped)
    err = nf("search", "data.csv", code=code).err
    assert err.splitlines()[-1] == (
        "Interrupted: study 'mine' keeps its trials in sqlite:///x.db; the same command goes on "
        "with it."
    )


@pytest.mark.parametrize("secret", ["pw", "p%40ss%2Fword"])
def test_a_bug_keeps_its_traceback_without_the_password(
    secret: str, home: Path, nf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://me:{secret}@host/db"

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"can't reach {url}, password {secret!r}")

    monkeypatch.setattr("nfopt.api.search", broken)
    err = nf("search", "data.csv", "--storage", url, code=1).err
    assert "Traceback" in err
    assert "can't reach postgresql://me:***@host/db" in err
    assert secret not in err.replace("power", "")


def test_a_value_error_from_below_is_a_bug(
    home: Path, nf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfopt.api.fit", lambda *_, **__: int("no number"))
    assert "Traceback" in nf("fit", "data.csv", code=1).err


def _start(*words: str, folder: Path) -> subprocess.Popen[bytes]:
    code = "from nfopt.cli import main\nmain()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_reader_that_has_enough_is_no_error(home: Path) -> None:
    process = _start("sample", "model", "--rows", "100000", folder=home)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"a,b\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141


@pytest.mark.slow
def test_ctrl_c_ends_within_five_seconds_and_nothing_is_left_running(home: Path, nf: Any) -> None:
    words = ["search", "data.csv", "--minutes", "5", "--study", "mine", "--threads", "1"]
    process = _start(*words, folder=home)
    assert process.stderr is not None
    while b"is new" not in process.stderr.readline():
        pass
    time.sleep(3.0)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert time.monotonic() - began < 5.0
    assert process.stderr.read().splitlines()[-1].startswith(b"Interrupted: study 'mine'")
    assert nf("status", "mine", "--json").json["states"]["running"] == 0
    words[3] = "0.3"
    told = nf(*words, "--json")
    assert "resumes" in told.err
    assert told.json["best"]["validation_nll"] < 10


@pytest.mark.slow
def test_the_main_job_on_real_data(tmp_path: Path) -> None:
    began = time.monotonic()
    process = _start("search", "magic", "--minutes", "1", "--json", folder=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert time.monotonic() - began < 1.1 * 60 + 6  # and the start of Python
    told = json.loads(out)
    assert told.keys() >= KEYS
    assert told["test_nll"] < 26.0  # nats on the raw scale; a Gaussian has 31.5
    assert nfopt.load(tmp_path / told["out"]).sample(10, seed=0).shape == (10, 10)
