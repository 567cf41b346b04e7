"""CUDA: a layer is what it is on the CPU, a population trains, and every search runs to its end.

    pytest -m gpu -n 0                            # on a machine with CUDA
    NFOPT_TEST_DEVICE=cpu pytest -m gpu -n 0      # the same without it: are the tests sound?

Where CUDA is wanted and there is none, they fail: a run that skips them all would look like a good
one.
"""

from __future__ import annotations

import functools
import math
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from autonf import toys as searched
from autonf.test_keeper import OPTIONS, PLAN, TRAIN, Counter
from autonf.test_keeper import Killed as KilledSearch
from flows.kinds import CASES, IDS, rows, trained
from flows.test_inherit import PARENT, drawn, flow
from model.toys import FLOWS, context_of
from model.toys import table as held
from msgspec.structs import replace
from study.conftest import table
from torch import Tensor
from training.test_checkpoint import RUNS, SEVERAL, Killed, go, kill_at
from training.toys import SPEC, coupling_spec, make_data, make_stack, seeded, spy

import nfopt
from nfopt import api
from nfopt.autonf import Choice, CostTable, RacePlan, Settings, choose, options_of
from nfopt.autonf.costs import MEASURED
from nfopt.autonf.objective import enumerate_paths
from nfopt.autonf.supernet import Supernet
from nfopt.export import to_zuko
from nfopt.flows import Stack, build
from nfopt.flows.inherit import inherit
from nfopt.model import Flow
from nfopt.spec import LU, Conditioner, Coupling, FlowSpec, Spline, TrainSpec
from nfopt.study import attributes as names
from nfopt.study import read
from nfopt.study.autonf_run import run_autonf
from nfopt.study.autonf_setup import Setup
from nfopt.study.costs import scoring_seconds
from nfopt.study.events import Notice
from nfopt.study.left import leftovers
from nfopt.study.queue import COUNTED
from nfopt.study.stacks import train_stack
from nfopt.training import MemberResult, Rung, TrainData, mean_nll, train
from nfopt.training.measure import measure_step

DEVICE = os.environ.get("NFOPT_TEST_DEVICE", "cuda")
KIND = torch.device(DEVICE).type
CUDA = KIND == "cuda"

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if CUDA and not torch.cuda.is_available():
        pytest.fail(
            "the tests marked gpu need CUDA, and torch sees none here: leave them out, or set"
            " NFOPT_TEST_DEVICE=cpu",
            pytrace=False,
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    monkeypatch.chdir(tmp_path)


def gap(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative where a number is large; inf where one is not finite."""
    found, wanted = found.detach().cpu().double(), wanted.detach().cpu().double()
    assert found.shape == wanted.shape
    off = (found - wanted).abs() / wanted.abs().clamp_min(1)
    return float(off.nan_to_num(math.inf).max()) if off.numel() else 0.0


def distance(found: Tensor, wanted: Tensor) -> float:
    """The length of the difference, in that of what is wanted; inf where one is not finite."""
    found, wanted = found.detach().cpu().double(), wanted.detach().cpu().double()
    assert found.shape == wanted.shape
    off = (found - wanted).norm() / wanted.norm().clamp_min(1e-12)
    return float(off.nan_to_num(math.inf))


# -------------------------------------------------------------------------------------- layers


def values(stack: Stack, x: Tensor, z: Tensor, given: Tensor | None) -> dict[str, Tensor]:
    """What a stack makes of rows x (B, D) and of rows z (P, B, D) in base space."""
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        found["log_prob"] = stack.log_prob(x, given)
        found["forward"], found["log_det"] = stack.forward(x, given)
        found["inverse"] = stack.inverse(z, given)
    if stack.theta.numel():
        weight = torch.linspace(0.5, 1.5, len(x), dtype=stack.dtype, device=stack.device)
        loss = (stack.log_prob(x, given) * weight).mean()
        (found["gradient"],) = torch.autograd.grad(loss, stack.theta)
    return found


@pytest.mark.parametrize(("kind", "features", "context"), CASES, ids=IDS)
def test_a_layer_is_what_it_is_on_the_cpu(kind: str, features: int, context: int) -> None:
    stack = trained(kind, features, context)
    x, given = rows(40, features, context)
    with torch.no_grad():
        z, _ = stack.forward(x, given)
    wanted = values(stack, x, z, given)

    exact = stack.to(DEVICE)
    assert exact.theta.device.type == KIND
    assert torch.equal(exact.to("cpu").theta, stack.theta)
    moved = [None if each is None else each.to(DEVICE) for each in (x, z, given)]
    found = values(exact, moved[0], moved[1], moved[2])  # type: ignore[arg-type]
    for name, value in found.items():
        assert value.device.type == KIND, name
        assert gap(value, wanted[name]) < 1e-8, name

    on_cpu = values(stack.to(dtype=torch.float32), x, z, given)
    single = stack.to(DEVICE, torch.float32)
    for name, value in values(single, x, z, given).items():  # rows from the CPU are moved
        if name == "gradient":  # it jumps where a value crosses the edge of a spline's bin
            assert distance(value, wanted[name]) < 0.05
        else:  # where the CPU's own rounding adds up, a GPU's may too
            assert gap(value, wanted[name]) < 1e-3 + 10 * gap(on_cpu[name], wanted[name]), name

    # the first eight rows' context, a row for each sample
    seen = None if given is None else given[:8]
    for own in (exact, single):
        drawn_rows = own.sample(8, torch.Generator(DEVICE).manual_seed(0), seen)
        assert drawn_rows.device.type == KIND
        assert drawn_rows.isfinite().all()


def test_float32_products_are_float32() -> None:
    a, b = (torch.randn(512, 512, generator=seeded(k), dtype=torch.float64) for k in (0, 1))
    found = (a.float().to(DEVICE) @ b.float().to(DEVICE)).cpu().double()
    off = float((found - a @ b).norm() / (a @ b).norm())
    assert off < 1e-5, f"products are rounded to fewer digits (TF32?): {off:.1e}"


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_moves(name: str) -> None:
    here = FLOWS[name]()
    there = here.to(DEVICE)
    assert there.device.type == KIND
    x = held(200, seed=4)
    context = context_of(here, len(x))
    for method in ("log_prob", "members_log_prob", "disagreement"):
        found, wanted = (getattr(each, method)(x, context) for each in (there, here))
        assert gap(torch.from_numpy(found), torch.from_numpy(wanted)) < 1e-4, method
    for dtype in (np.float32, np.float64):
        again = [there.sample(len(x), seed=1, context=context, dtype=dtype) for _ in range(2)]
        assert np.isfinite(again[0]).all()
        assert (again[0] == again[1]).all()


def test_trained_weights_are_inherited() -> None:
    child = flow("CTCT", "TTCC")
    found = []
    for device in ("cpu", DEVICE):
        parent, own = drawn(PARENT, 0).to(device), drawn(child, 1).to(device)
        inherit(own, 0, PARENT, parent.weights(0))
        found.append(own.theta.detach().cpu())
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", ["LU", "spline"])
def test_export_of_a_flow_on_the_device(kind: str) -> None:
    pytest.importorskip("zuko")
    stack = trained("lu" if kind == "LU" else "coupling spline", 7).to(DEVICE)
    x, _ = rows(50, 7)
    exported = to_zuko(stack.specs[0], stack.weights(0))
    with torch.no_grad():
        assert gap(exported().log_prob(x), stack.log_prob(x)[0]) < 1e-8


# ------------------------------------------------------------------------------------ training

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
    before: list[Tensor] = []

    def note(stack: Stack) -> None:
        nll, _ = mean_nll(stack, moved.val, moved.val_context, moved.val_weights)
        before.extend((stack.theta.detach().cpu().clone(), nll.cpu()))

    stack, results = train_stack(
        SPECS,
        trains,
        range(20, 20 + len(SPECS)),
        moved,
        **{"batches": 3, "steps": trains[0].steps, "seconds": None} | more,
        on_built=note,
    )
    return stack, results, before[0], before[1]


alike = functools.cache(fitted)  # the same run serves several tests


@pytest.mark.parametrize("name", ["alike", "own", "adam", "weights"])
def test_all_members_of_a_population_get_better(name: str) -> None:
    trains = {
        "own": OWN,
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


@pytest.mark.parametrize("name", ["plain", "own rates and dropout", "pruned", "weights"])
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
    assert leftovers(stack, results, data).keys() <= set(range(6))


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


# ------------------------------------------------------------------------------ AutoNF's search


def test_all_paths_of_a_supernet_are_what_they_are_on_the_cpu() -> None:
    options = options_of("types,planar,identity", 2, width=8, hidden_layers=1, bins=4)
    x = searched.rows(50)
    paths = enumerate_paths([range(len(options))] * 2)
    found = []
    for device in ("cpu", DEVICE):
        net = Supernet(options, 2, 2, seeded(1), device=device, dtype=torch.float64)
        moved = x.to(device, torch.float64)
        log_p = net.log_prob(paths, moved)
        log_p.mean().backward()  # type: ignore[no-untyped-call]
        assert log_p.device.type == torch.device(device).type
        found.append([log_p, *(theta.grad for theta in net.parameters())])
    for here, there in zip(*found, strict=True):
        assert here is not None
        assert there is not None
        assert gap(there, here) < 1e-8


@pytest.mark.parametrize("cost", MEASURED)
def test_costs_are_measured_and_kept(cost: Any, tmp_path: Path) -> None:
    options = options_of("types,identity", 6, width=64)
    place = tmp_path / "costs.json"
    found = CostTable(place).costs(cost, options, 6, batch=64, device=DEVICE)
    assert all(0 < each < 1 for each in found[:4])
    assert found[4] == 0
    entries = CostTable(place).entries.values()
    wanted = torch.cuda.get_device_name() if CUDA else "cpu"
    assert all(wanted in entry.device for entry in entries)
    assert CostTable(place).costs(cost, options, 6, batch=64, device=DEVICE) == found


SEARCHES: dict[str, dict[str, Any]] = {
    "exact": {"steps": 20},
    "sampled": {"steps": 20, "block": 1, "passes": 2, "estimator": "sampled"},
    "natural": {"steps": 20, "update": "natural"},
    "mixture": {"steps": 20, "objective": "mixture", "bilevel": False},
    "auto, swaps": {"steps": 20, "estimator": "auto", "proposals": "perturbation"},
}


def chosen(name: str, **more: Any) -> Choice:
    data = searched.make_data().to(DEVICE)
    settings = searched.settings(**SEARCHES[name])
    return choose(OPTIONS, data, TRAIN, settings, plan=PLAN, costs=(1, 2, 0), seed=1, **more)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_differentiable_search_ends_and_a_killed_one_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = chosen(name)
    assert math.isfinite(whole.best.nll)
    monkeypatch.setattr("nfopt.training.run.TICK_SECONDS", 0.0)
    path = tmp_path / "choice.safetensors"
    keeping = {"checkpoint": path, "checkpoint_seconds": 0.0}
    for last in (4, 12, 6):
        with pytest.raises(KilledSearch):
            chosen(name, **keeping, on_checkpoint=Counter(last))
    again = chosen(name, **keeping)
    assert math.isfinite(again.best.nll)
    assert abs(again.best.nll - whole.best.nll) < 0.5
    if name != "auto, swaps" and (again.paths, again.best.nll) != (whole.paths, whole.best.nll):
        warnings.warn(f"{name}: gone on with, but not bit for bit", stacklevel=1)


def test_a_race_with_a_time_limit() -> None:
    found = chosen("exact", seconds=2.0)
    assert math.isfinite(found.best.nll)
    assert found.seconds < 6.0


# ------------------------------------------------------------------------------- the whole of it

X = table(400)
LIMITS = {
    "kind": "coupling",
    "depth": [1, 3],
    "width": [8, 16],
    "hidden_layers": 1,
    "maps": ["affine", "spline"],
}
TINY = (coupling_spec(Spline(bins=4)), SPEC)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small flow in the place of the recipes."""
    monkeypatch.setattr(api, "recipe", lambda *given, **more: TINY)
    monkeypatch.setattr("nfopt.study.run.first_trials", lambda *given, **more: [TINY])


def same_on_the_cpu(flow: Flow, out: Path) -> None:
    """What was saved is the flow that was found, wherever it is loaded."""
    assert flow.device.type == KIND
    loaded = nfopt.load(out)
    assert loaded.device.type == "cpu"
    x = table(200, seed=9)
    assert gap(torch.from_numpy(flow.log_prob(x)), torch.from_numpy(loaded.log_prob(x))) < 1e-3
    again = nfopt.load(out, device=DEVICE)
    assert gap(torch.from_numpy(flow.log_prob(x)), torch.from_numpy(again.log_prob(x))) < 1e-5
    for each in (flow, loaded):
        assert np.isfinite(each.sample(100, seed=0)).all()


def test_fit(tmp_path: Path) -> None:
    result = nfopt.fit(X, device=DEVICE, minutes=0.1, members=2, out=tmp_path / "fit")
    assert math.isfinite(result.test_nll)
    assert result.seconds < 12
    same_on_the_cpu(result.flow, tmp_path / "fit")


def test_fit_with_context_and_weights(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(X))
    spec = coupling_spec(context=1)
    data = np.column_stack([X, X[:, 0] + 0.1])
    result = nfopt.fit(
        data,
        flow=(spec, replace(SPEC, dropout=0.1)),
        context=[3],
        weights=weights,
        device=DEVICE,
        out=tmp_path / "fit",
    )
    assert math.isfinite(result.test_nll)
    found = result.flow.log_prob(X, data[:, 3:])
    wanted = nfopt.load(tmp_path / "fit").log_prob(X, data[:, 3:])
    assert gap(torch.from_numpy(found), torch.from_numpy(wanted)) < 1e-3


@pytest.mark.usefixtures("_small")
def test_a_search_by_trials_its_resume_and_a_retraining(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    find = functools.partial(
        nfopt.search, X, study="toy", storage=url, space=LIMITS, device=DEVICE, members=2
    )
    told: list[Any] = []
    result = find(trials=8, out=tmp_path / "found", on_event=told.append)
    failed = [t for t in result.study.trials if t.state not in COUNTED]
    assert result.trials == 8, [t.user_attrs.get(names.REASON) for t in failed]
    assert math.isfinite(result.test_nll)
    same_on_the_cpu(result.flow, tmp_path / "found")
    for text in (event.text for event in told if isinstance(event, Notice)):
        assert "checkpoint" not in text
        if "picture" in text:
            warnings.warn(text, stacklevel=1)
    again = find(trials=12, out=tmp_path / "found", warm_children=True)
    assert again.trials == 12
    best = api.retrain("toy", 0, storage=url, data=X, device=DEVICE, out=tmp_path / "retrained")
    assert math.isfinite(best.test_nll)
    same_on_the_cpu(best.flow, tmp_path / "retrained")


@pytest.mark.usefixtures("_small")
def test_a_search_by_minutes_over_all_kinds_of_layers(tmp_path: Path) -> None:
    result = nfopt.search(
        X,
        device=DEVICE,
        minutes=0.3,
        space={"kind": "full", "depth": [1, 3], "width": [8, 16]},
        warm_start="autonf",
        storage=optuna.storages.InMemoryStorage(),
        out=tmp_path / "found",
    )
    assert result.trials >= 1
    assert math.isfinite(result.test_nll)
    assert result.seconds < 30
    same_on_the_cpu(result.flow, tmp_path / "found")


def test_an_objective_in_a_study_of_ones_own() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(nfopt.Objective(read(X, seed=0), share=0.02, device=DEVICE), n_trials=3)
    good = [t for t in study.trials if t.state in COUNTED]
    assert good, [t.user_attrs.get(names.REASON) for t in study.trials]


@pytest.mark.parametrize("cost", ["train", "inverse"])
def test_autonf(cost: str, tmp_path: Path) -> None:
    result = run_autonf(
        read(X, seed=0),
        Setup(
            options="affine-coupling,spline-coupling,affine-autoregressive,identity",
            places=2,
            width=8,
            cost=cost,
            price=(0.0, 0.05),
            race=RacePlan(rungs=(0.02, 0.05), keep=(4, 1)),
            table=CostTable(tmp_path / "costs.json"),
        ),
        study="toy",
        storage=f"sqlite:///{tmp_path}/toy.db",
        out=tmp_path / "flow",
        minutes=0.15,
        settings=Settings(steps=20, batch_size=64),
        device=DEVICE,
    )
    assert result.trials == 2
    assert math.isfinite(result.test_nll)
    assert result.front
    assert CostTable(tmp_path / "costs.json").entries
    same_on_the_cpu(result.flow, tmp_path / "flow")
