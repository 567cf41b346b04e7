"""A run that was killed and goes on ends with the same weights, bit for bit, as one that was
not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from msgspec.structs import replace
from safetensors import safe_open
from safetensors.torch import save_file

from nfopt.errors import NfoptError
from nfopt.flows import Stack
from nfopt.spec import TrainSpec
from nfopt.training import CheckpointError, Progress, Rung, checkpoint, train

from .toys import Clock, make_data, make_stack, seeded, spy

SPEC = TrainSpec(steps=45, batch_size=64, learning_rate=0.01)  # an epoch of 400 rows has 6 batches
SEVERAL = [
    replace(SPEC, learning_rate=r, dropout=d) for r, d in ((0.01, 0.1), (0.02, 0), (0.003, 0))
]

MUON = replace(SPEC, optimiser="muon", schedule="trapezoid", weight_decay=0.1, average=0.9)


class Killed(Exception):
    pass


def kill_at(step: int) -> Callable[[Progress], None]:
    def told(progress: Progress) -> None:
        if progress.step >= step:
            raise Killed

    return told


def go(stack: Stack, path: Path | None = None, **options: Any) -> Any:
    """Train with a clock so slow that every step ticks, and every tick writes the checkpoint."""
    options = {"specs": SPEC, "data": make_data(), "clock": Clock(tick=1.0)} | options
    seed = seeded(options.pop("seed", 5))
    return train(stack, generator=seed, checkpoint=path, checkpoint_seconds=0.0, **options)


def same(first: Any, second: Any) -> bool:
    """Compare results, leaving out what the clock says."""
    fields = ("member", "status", "reason", "nll", "nll_2se", "steps", "best_step", "curve")
    return all(
        getattr(a, f) == getattr(b, f) for a, b in zip(first, second, strict=True) for f in fields
    )


RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "own rates and dropout": {"specs": SEVERAL},
    "adam with decay": {"specs": replace(SPEC, optimiser="adam", weight_decay=0.1)},
    "whole data a batch": {"specs": replace(SPEC, batch_size=4000)},
    "pruned": {"specs": SEVERAL, "on_rung": lambda rung: [1] if rung.fraction == 0.25 else []},
    "patience": {"specs": replace(SPEC, patience=1, learning_rate=0.3)},
    "weights": {"data": make_data(weights=True)},
    "muon": {"specs": MUON},
    "muon, pruned": {
        "specs": [
            replace(MUON, learning_rate=r, average=a)
            for r, a in ((0.02, 0.9), (0.01, 0), (0.03, 0.5))
        ],
        "on_rung": lambda rung: [1] if rung.fraction == 0.25 else [],
    },
    "average": {"specs": replace(SPEC, average=0.9)},
}


@pytest.mark.parametrize(
    ("name", "step"), [*((name, 16) for name in RUNS), ("plain", 1), ("plain", 44)]
)
def test_killed_and_restored_is_as_if_never_killed(name: str, step: int, tmp_path: Path) -> None:
    whole, first, second = make_stack(3), make_stack(3), make_stack(3)
    expected = go(whole, **RUNS[name])
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        go(first, path, on_progress=kill_at(step), **RUNS[name])
    assert path.exists() or step == 1
    results = go(second, path, **RUNS[name])
    assert torch.equal(second.theta, whole.theta)
    assert same(results, expected)


def test_killed_many_times(tmp_path: Path) -> None:
    whole, again = make_stack(3), make_stack(3)
    go(whole, specs=SEVERAL)
    path = tmp_path / "run.safetensors"
    for step in (5, 6, 7, 20, 31, 40):
        with pytest.raises(Killed):
            go(make_stack(3), path, specs=SEVERAL, on_progress=kill_at(step))
    go(again, path, specs=SEVERAL)
    assert torch.equal(again.theta, whole.theta)


def test_interrupted_and_resumed(tmp_path: Path) -> None:
    whole, again = make_stack(2), make_stack(2)
    expected = go(whole)
    answers = iter([False] * 13 + [True])
    path = tmp_path / "deeper" / "run.safetensors"
    first = go(again, path, should_stop=lambda: next(answers))
    assert [r.status for r in first] == ["interrupted"] * 2
    # the stack now holds the best weights so far; the checkpoint holds those in training
    results = go(again, path)
    assert torch.equal(again.theta, whole.theta)
    assert same(results, expected)


def test_a_finished_run_gives_its_results_again(tmp_path: Path) -> None:
    first, second = make_stack(2), make_stack(2)
    path = tmp_path / "run.safetensors"
    results = go(first, path)
    steps: list[int] = []
    assert same(go(spy(second, steps.append), path), results)
    assert steps == []
    assert torch.equal(first.theta, second.theta)


def test_a_halved_run_is_restored_with_both_halves(tmp_path: Path) -> None:
    def limited(members: int) -> None:
        if members > 2:
            raise torch.OutOfMemoryError("out of memory")

    whole, again = make_stack(4), make_stack(4)
    go(spy(whole, limited))
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        go(spy(make_stack(4), limited), path, on_progress=kill_at(20))
    state = go(spy(again, limited), path)
    assert [r.steps for r in state] == [45] * 4
    assert torch.equal(again.theta, whole.theta)


def test_a_time_budget_counts_over_restarts(tmp_path: Path) -> None:
    clock = Clock()

    def work(members: int) -> None:
        clock.now += 0.5

    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        go(spy(make_stack(1), work), path, seconds=40.0, clock=clock, on_progress=kill_at(30))
    clock.now += 500  # the machine was off
    began = clock.now
    (result,) = go(spy(make_stack(1), work), path, seconds=40.0, clock=clock)
    assert 20 < clock.now - began < 27
    assert result.seconds == pytest.approx(40.0, rel=0.05)


@pytest.mark.parametrize("seconds", [None, 400.0])
def test_a_run_that_goes_on_with_less_time_ends_in_it(
    tmp_path: Path, seconds: float | None
) -> None:
    clock, rungs = Clock(), list[float]()

    def work(members: int) -> None:
        clock.now += 0.5

    path = tmp_path / "run.safetensors"
    given = {"steps": 900, "seconds": seconds, "clock": clock}
    with pytest.raises(Killed):
        go(spy(make_stack(1), work), path, on_progress=kill_at(30), **given)
    began = clock.now

    def on_rung(rung: Rung) -> list[int]:
        rungs.append(rung.fraction)
        return []

    (result,) = go(spy(make_stack(1), work), path, left=25.0, on_rung=on_rung, **given)
    assert 20 < clock.now - began < 27
    assert result.status == "complete"
    assert rungs == [1.0]  # by steps


def test_rungs_already_told_are_not_told_again(tmp_path: Path) -> None:
    told: list[float] = []

    def on_rung(rung: Rung) -> list[int]:
        told.append(rung.fraction)
        return []

    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        go(make_stack(1), path, on_rung=on_rung, on_progress=kill_at(30))
    go(make_stack(1), path, on_rung=on_rung)
    assert told == [0.25, 0.5, 1.0]


SCRIPT = """
import os, signal, sys
from pathlib import Path
from training.test_checkpoint import SEVERAL, go
from training.toys import make_stack
def told(progress):
    if progress.step >= 17:
        os.kill(os.getpid(), signal.SIGKILL)
go(make_stack(3), Path(sys.argv[1]), specs=SEVERAL, on_progress=told)
"""


def test_killed_by_the_system_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    here = str(Path(__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": here}
    code = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], env=environment, check=False)
    assert code.returncode == -signal.SIGKILL
    whole, again = make_stack(3), make_stack(3)
    go(whole, specs=SEVERAL)
    go(again, path, specs=SEVERAL)
    assert torch.equal(again.theta, whole.theta)
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        go(make_stack(2), path, on_progress=kill_at(9))
    return path


OTHER_RUNS: dict[str, dict[str, Any]] = {
    "settings": {"specs": replace(SPEC, learning_rate=0.5)},
    "steps": {"steps": 99},
    "data": {"data": make_data(rows=300)},
    "rungs": {"rungs": (0.5,)},
}


@pytest.mark.parametrize("name", OTHER_RUNS)
def test_a_checkpoint_of_another_run_is_refused(name: str, written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(NfoptError, match="is of another run"):
        go(make_stack(2), written, **OTHER_RUNS[name])
    assert written.read_bytes() == before


def test_a_checkpoint_of_other_flows_is_refused(written: Path) -> None:
    with pytest.raises(NfoptError, match="is of another run"):
        go(make_stack(3), written)


@pytest.mark.parametrize("content", [b"", b"nonsense", b'{"a": 1}' * 100])
def test_a_file_that_is_no_checkpoint_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(content)
    with pytest.raises(NfoptError, match="can't be read") as caught:
        go(make_stack(1), path)
    assert "\n" not in str(caught.value)


def test_a_header_that_claims_too_much_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with path.open("wb") as file:
        file.write((1 << 40).to_bytes(8, "little"))
        file.truncate((1 << 40) + 16)  # so that the file is long enough for its header
    with pytest.raises(CheckpointError, match=r"no header that can be read \(1,099,511,627,776"):
        checkpoint.load(path, "", checkpoint.RunState)


def test_a_header_that_is_nested_deeply_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save_file({}, path, metadata={"nfopt": '{"records":' + "[" * 100_000})
    with pytest.raises(CheckpointError, match="can't be read"):
        checkpoint.load(path, "", checkpoint.RunState)


WRONG: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "a missing tensor": lambda tensors: tensors.pop("0.theta"),
    "best weights of another flow": lambda tensors: tensors.update(best=torch.zeros(2, 2)),
    "weights of another flow": lambda tensors: tensors.update({"0.theta": torch.zeros(7, 7)}),
}


@pytest.mark.parametrize("name", WRONG)
def test_numbers_that_do_not_fit_the_run_are_one_clear_line(name: str, written: Path) -> None:
    with safe_open(written, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    WRONG[name](tensors)
    save_file({k: v.contiguous() for k, v in tensors.items()}, written, metadata=metadata)
    with pytest.raises(CheckpointError, match="does not fit this run") as caught:
        go(make_stack(2), written)
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_one_clear_line(written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-100])
    with pytest.raises(NfoptError, match="can't be read"):
        go(make_stack(2), written)


@pytest.mark.parametrize("version", [1, 77])
def test_another_version_is_named(version: int, written: Path) -> None:
    with safe_open(written, framework="pt") as file:
        state = msgspec.json.decode(file.metadata()["nfopt"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = msgspec.json.encode(state | {"version": version}).decode()
    save_file(tensors, written, metadata={"nfopt": text})
    with pytest.raises(NfoptError, match=f"version {version}, this nfopt reads 2"):
        go(make_stack(2), written)
