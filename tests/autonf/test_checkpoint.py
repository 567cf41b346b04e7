"""Checkpoints of a choice: a killed one goes on after its last block, a broken one is refused."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nfopt.autonf import Choice, Fixed, RacePlan, Target, choose, options_of
from nfopt.spec import TrainSpec
from nfopt.training import CheckpointError

from .toys import make_data, settings

OPTIONS = options_of("affine-coupling,spline-coupling,identity", 2, width=8, bins=4)
TRAIN = TrainSpec(steps=8, batch_size=64, learning_rate=1e-2)
PLAN = RacePlan(rungs=(0.5, 1.0), keep=(3, 2))
KINDS: dict[str, dict[str, Any]] = {
    "exact": {"steps": 6},
    "block": {"steps": 12, "block": 1, "passes": 2, "estimator": "sampled"},
    "mixture": {"steps": 8, "block": 1, "objective": "mixture", "drop": 0.2},
}


class Killed(Exception):
    """Stands for a signal that nothing can catch."""


class Counter:
    """Raises after so many checkpoints."""

    def __init__(self, last: int | None = None) -> None:
        self.last, self.seen = last, 0

    def __call__(self, error: Exception | None) -> None:
        assert error is None
        self.seen += 1
        if self.seen == self.last:
            raise Killed


def run(kind: str, path: Path | None = None, **more: Any) -> Choice:
    arguments: dict[str, Any] = {
        "plan": PLAN,
        "costs": (1, 2, 0),
        "price": lambda: Target(1.5),
        "checkpoint": path,
    }
    return choose(OPTIONS, make_data(), TRAIN, settings(**KINDS[kind]), **(arguments | more))


@cache
def whole(kind: str) -> Choice:
    return run(kind)


def story(choice: Choice) -> tuple[Any, ...]:
    """All of a choice but its seconds."""
    raced = [(r.position, r.nll, r.nll_2se, r.share, r.nlls) for r in choice.raced]
    found = choice.found
    assert found is not None
    return raced, choice.paths, choice.price, dataclasses.replace(found, seconds=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_choice_comes_to_the_same_end(kind: str, tmp_path: Path) -> None:
    path, counter = tmp_path / "choice.safetensors", Counter()
    assert story(run(kind, path, on_checkpoint=counter)) == story(whole(kind))
    assert counter.seen >= 4
    for place in range(1, counter.seen):
        path.unlink(missing_ok=True)
        with pytest.raises(Killed):
            run(kind, path, on_checkpoint=Counter(place))
        assert story(run(kind, path)) == story(whole(kind)), place
    # nothing is left but the file itself
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


def test_a_choice_that_is_killed_again_and_again_comes_to_its_end(tmp_path: Path) -> None:
    path, kills = tmp_path / "choice.safetensors", 0
    while True:
        try:
            found = run("exact", path, on_checkpoint=Counter(2))
            break
        except Killed:
            kills += 1
    assert kills > 1
    assert story(found) == story(whole("exact"))


@pytest.mark.parametrize("calls", [4, 12])
def test_a_stopped_choice_goes_on(calls: int, tmp_path: Path) -> None:
    """In its search, or in a training of its race."""
    path, asked = tmp_path / "choice.safetensors", 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= calls

    run("exact", path, should_stop=should_stop)
    assert story(run("exact", path)) == story(whole("exact"))


def test_records_are_told_once(tmp_path: Path) -> None:
    path, told = tmp_path / "choice.safetensors", list[Any]()
    with pytest.raises(Killed):
        run("exact", path, on_checkpoint=Counter(2), on_record=told.append)
    found = run("exact", path, on_record=told.append).found
    assert found is not None
    assert tuple(told) == found.history.records


def test_seconds_go_on_where_they_were(tmp_path: Path) -> None:
    """By a clock that starts anew, as a processor's does."""

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            self.now += 1.0
            return self.now

    path, first, second = tmp_path / "choice.safetensors", Clock(), Clock()
    given = settings(steps=100_000, estimator="sampled")

    def go(clock: Clock, **more: Any) -> Choice:
        return choose(
            OPTIONS, make_data(), TRAIN, given, plan=PLAN, seconds=200.0, clock=clock,
            checkpoint=path, **more,
        )  # fmt: skip

    with pytest.raises(Killed):
        go(first, on_checkpoint=Counter(2))
    choice = go(second)
    assert 150 < first.now + second.now < 350
    assert first.now + second.now - 60 < choice.seconds < first.now + second.now + 60


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "can't be read"),
        (lambda path: path.write_bytes(b""), "can't be read"),
        (lambda path: None, "is of another run"),
    ],
)
def test_a_broken_or_foreign_checkpoint_is_refused(spoil, said: str, tmp_path: Path) -> None:
    path = tmp_path / "choice.safetensors"
    with pytest.raises(Killed):
        run("exact", path, on_checkpoint=Counter(1))
    spoil(path)
    other = {} if "read" in said else {"price": lambda: Fixed(0.5)}
    with pytest.raises(CheckpointError, match=said) as error:
        run("exact", path, **other)
    assert "\n" not in str(error.value)


def test_a_search_goes_on_without_a_checkpoint_that_can_t_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    told: list[Exception | None] = []
    found = run("exact", blocked / "choice.safetensors", on_checkpoint=told.append)
    assert story(found) == story(whole("exact"))
    assert [type(error) for error in told] == [FileExistsError]
    with pytest.raises(FileExistsError):
        run("exact", blocked / "choice.safetensors")
