"""A population trains, is pruned, halved, killed and gone on with."""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from small_study import table
from torch import Tensor
from training.test_checkpoint import RUNS, SEVERAL, Killed, go, kill_at
from training.toys import make_data, make_stack, seeded, spy

import nfopt
from nfopt import seeds
from nfopt.flows import Stack, build
from nfopt.spec import LU, Conditioner, Coupling, FlowSpec, Spline, TrainSpec
from nfopt.study.stacks import scoring_seconds, train_stack
from nfopt.training import MemberResult, Rung, TrainData, mean_nll, train
from nfopt.training.measure import measure_step

from .device import CUDA, DEVICE, KIND, gap

pytestmark = pytest.mark.gpu


MASKS = (
    ("CTC", "TCT"),
    ("CTT", "TCC"),
    ("TCC", "CTT"),
    ("TTC", "CCT"),
    ("CCT", "TTC"),
    ("TCT", "CTC"),
)
NET = Conditioner(width=16, hidden_layers=2)
SPECS = [
    FlowSpec(
        features=3,
        layers=(
            LU(),
            *(Coupling(mask=mask, map=Spline(bins=4), conditioner=NET) for mask in masks),
        ),
    )
    for masks in MASKS
]
ALIKE = [TrainSpec(steps=160, batch_size=64, learning_rate=0.01)] * len(SPECS)
OWN = [
    replace(ALIKE[0], learning_rate=rate, dropout=dropout, weight_decay=decay, schedule=schedule)
    for rate, dropout, decay, schedule in (
        (0.01, 0.1, 0.0, "cosine"),
        (0.02, 0.0, 0.1, "cosine"),
        (0.005, 0.0, 0.0, "one_cycle"),
        (0.01, 0.05, 0.01, "constant"),
        (0.008, 0.0, 0.0, "cosine"),
        (0.015, 0.2, 0.0, "one_cycle"),
    )
]


def fitted(
    device: str, trains: Sequence[TrainSpec] = ALIKE, data: TrainData | None = None, **more: Any
) -> tuple[Stack, list[MemberResult], Tensor, Tensor]:
    """Train the six flows; return also their weights and NLLs before, both on the CPU."""
    moved = (data or make_data()).to(device)
    weights = range(20, 20 + len(SPECS))
    (start,) = build(SPECS, [seeds.generator(seed) for seed in weights], device=moved.x.device)
    nll, _ = mean_nll(start, moved.val, moved.val_context, moved.val_weights)
    stack, results = train_stack(
        SPECS,
        trains,
        weights,
        moved,
        **{"batches": 3, "steps": trains[0].steps, "seconds": None} | more,
    )
    return stack, results, start.theta.detach().cpu(), nll.cpu()


alike = functools.cache(fitted)  # the same run serves several tests


@pytest.mark.parametrize("name", ["alike", "own", "adam", "muon", "weights"])
def test_all_members_of_a_population_get_better(name: str) -> None:
    trains = {
        "own": OWN,
        "muon": [replace(train, optimiser="muon", average=0.9) for train in OWN],
        "adam": [replace(ALIKE[0], optimiser="adam", weight_decay=0.01)] * len(SPECS),
    }.get(name, ALIKE)
    data = make_data(weights=name == "weights")
    same = name == "alike"
    stack, results, _, before = alike(DEVICE) if same else fitted(DEVICE, trains, data)
    assert stack.theta.device.type == KIND
    for result, start in zip(results, before.tolist(), strict=True):
        assert result.status == "complete", result
        assert result.steps == 160
        assert result.nll < start - 0.3, (result, start)
        assert result.round_trip < 1e-2
    moved = data.to(DEVICE)
    nll, _ = mean_nll(stack, moved.val, None, moved.val_weights)
    assert gap(nll, torch.tensor([result.nll for result in results])) < 1e-5


def test_a_member_comes_to_the_nll_that_it_has_on_the_cpu() -> None:
    whole = [replace(ALIKE[0], batch_size=4000)] * len(SPECS)  # no batch is drawn
    for margin, both in (
        (0.08, [fitted(device, whole) for device in ("cpu", DEVICE)]),
        # devices draw other batches: from batch to batch NLLs differ by 0.02 to 0.2
        (0.5, [alike(device) for device in ("cpu", DEVICE)]),
    ):
        assert torch.equal(both[0][2], both[1][2])  # first weights are drawn on the CPU
        for one, other in zip(both[0][1], both[1][1], strict=True):
            assert abs(one.nll - other.nll) < margin, (margin, one.nll, other.nll)


@pytest.mark.parametrize(
    "name", ["plain", "own rates and dropout", "pruned", "muon, pruned", "weights"]
)
def test_a_killed_run_goes_on(name: str, tmp_path: Path) -> None:
    options = dict(RUNS[name])
    options["data"] = options.get("data", make_data()).to(DEVICE)
    whole, first, second = (make_stack(3).to(DEVICE) for _ in range(3))
    wanted = go(whole, **options)
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        go(first, path, on_progress=kill_at(16), **options)
    assert path.exists()
    seen: list[int] = []
    results = go(second, path, on_progress=lambda told: seen.append(told.step), **options)
    assert min(seen) >= 15  # it began where the other one was
    assert [r.status for r in results] == [r.status for r in wanted]
    assert [r.steps for r in results] == [r.steps for r in wanted]
    assert gap(second.theta, whole.theta) < 0.05
    if not torch.equal(second.theta, whole.theta):
        warnings.warn(f"{name}: restored, but not bit for bit", stacklevel=1)


def test_the_same_arguments_give_the_same_weights() -> None:
    (first, results, _, _), (second, again, _, _) = (fitted(DEVICE, OWN) for _ in range(2))
    for one, other in zip(results, again, strict=True):
        assert abs(one.nll - other.nll) < 0.5
    if not torch.equal(first.theta, second.theta):
        warnings.warn("two runs with the same seed are not the same bit for bit", stacklevel=1)


def test_pruned_members_leave_and_the_others_go_on() -> None:
    def on_rung(rung: Rung) -> list[int]:
        assert len(rung.members) == {0.25: 6, 0.5: 4, 1.0: 3}[rung.fraction]
        assert all(math.isfinite(nll) for nll in rung.nlls)
        return {0.25: [1, 4], 0.5: [0]}.get(rung.fraction, [])

    whole = alike(DEVICE)[1]
    stack, results, _, before = fitted(DEVICE, on_rung=on_rung)
    assert [r.status for r in results] == [
        "pruned",
        "pruned",
        "complete",
        "complete",
        "pruned",
        "complete",
    ]
    assert [r.steps for r in results] == [80, 40, 160, 160, 40, 160]
    for k in (2, 3, 5):
        assert results[k].nll < float(before[k]) - 0.3
        assert abs(results[k].nll - whole[k].nll) < 0.2
    small = stack.select([5, 2])
    data = make_data().to(DEVICE)
    wanted = [results[5].nll, results[2].nll]
    assert gap(mean_nll(small, data.val)[0], torch.tensor(wanted)) < 1e-5


def test_a_population_that_is_said_not_to_fit_is_halved() -> None:
    def limited(members: int) -> None:
        if members > 2:
            raise torch.OutOfMemoryError("out of memory")

    stack = make_stack(3).to(DEVICE)
    results = go(spy(stack, limited), specs=SEVERAL, data=make_data().to(DEVICE))
    assert [r.status for r in results] == ["complete"] * 3
    assert [r.steps for r in results] == [45] * 3


def test_a_population_that_does_not_fit_is_halved() -> None:
    if not CUDA:
        pytest.skip("only a GPU's memory can be limited")
    data, size, members = make_data(rows=4096).to(DEVICE), 4096, 256
    specs = [SPECS[k % len(SPECS)] for k in range(members)]
    (stack,) = build(specs, seeded(0), device=DEVICE)
    steps: list[int] = []
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + (400 << 20)  # a step of all takes over a gigabyte
    whole = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    torch.cuda.set_per_process_memory_fraction(room / whole)
    try:
        results = train(
            spy(stack, steps.append),
            TrainSpec(steps=12, batch_size=size, learning_rate=0.01),
            data,
            generator=seeded(1),
        )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert min(steps) < members
    assert [r.status for r in results] == ["complete"] * members
    assert {r.steps for r in results} == {12}
    assert all(math.isfinite(r.nll) for r in results)


def test_a_time_budget_is_met() -> None:
    members, size = (512, 4096) if CUDA else (4, 64)  # the GPU is behind, not what feeds it
    (stack,) = build([SPECS[0]] * members, seeded(0), device=DEVICE)
    data, spec = make_data(rows=size).to(DEVICE), TrainSpec(batch_size=size)
    train(stack, spec, data, generator=seeded(1), steps=3)
    began = time.monotonic()
    results = train(stack, spec, data, generator=seeded(1), seconds=2.0)
    taken = time.monotonic() - began
    assert 1.0 < taken < 3.0, taken
    assert results[0].steps > 3
    assert sum(r.seconds for r in results) < taken + 0.1


def test_a_device_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="`device` 'cuda:99' can't be used") as caught:
        nfopt.fit(table(), device="cuda:99")
    assert "\n" not in str(caught.value)


def test_steps_and_scores_are_measured() -> None:
    data = make_data(rows=600).to(DEVICE)
    alone, together = measure_step(SPECS[0], ALIKE[0], data, 8)
    assert 0 < together < 8 * alone
    assert scoring_seconds(SPECS, data, 30_000) > 0
