"""How a job of each experiment runs: `listing` says which there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from listing import EMPHASES, MANUAL, Job, Length

from nfopt.autonf import (
    CostTable,
    Fixed,
    Price,
    RacePlan,
    Settings,
    Target,
    choose,
    options_of,
    search,
    spec_of,
)
from nfopt.autonf.price import cost_of, relative
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.study.dataset import Source
from nfopt.study.stacks import train_stack
from nfopt.training import TrainData, mean_nll
from nfopt.training.measure import measure_step

COSTS = Path(__file__).parent / "costs.json"  # measured on this machine; not for others
RATES = (1e-3, 3e-3, 8e-3)  # learning rates that every final flow is tuned over
TUNING = 0.35  # of a method's seconds, where it searches as well


def execute(job: Job, source: Source, length: Length) -> dict[str, Any]:
    """Run one job and return its row."""
    began, cpu = time.monotonic(), time.process_time()
    run = {"one": _one, "two": _two, "oracle": _oracle, "oracle-search": _oracle_search}
    row = run[job.experiment](job, source, TrainData.of(source.data), length)
    seconds = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    return {"key": job.key, **vars(job), **row, **seconds}


def predicted(job: Job, source: Source, length: Length, known: dict[Any, float]) -> float:
    """Say in seconds how long a job should take, from the measured step of its kind of flow."""
    if job.experiment == "two":
        # the winner, or three learning rates of one type, and the last training
        return length.two_seconds + length.two * _step(source, "types", length.places, known)
    if job.experiment == "one":
        step = _step(source, "simple", 4, known)
        # 30 evaluations of a layer instead of 4, again without a gradient, and the flow alone
        return length.one * step * (30 / 4 * 4 / 3 + 1)
    step = _step(source, length.types, length.oracle_places, known)
    return length.oracle * step * (9.0 if job.experiment == "oracle-search" else 1.0)


def _step(source: Source, types: str, places: int, known: dict[Any, float]) -> float:
    """Seconds of a training step: the mean over flows of one type each."""
    key = (source.name, types, places)
    if key not in known:
        features, data = source.data.features, TrainData.of(source.data)
        options = options_of(types, features)
        each = [
            measure_step(
                spec_of(options, (k,) * places, features),
                TrainSpec(batch_size=256),
                data,
                1,
                clock=time.process_time,
            )
            for k in range(len(options))
        ]
        known[key] = 1.3 * sum(alone for alone, _ in each) / len(each)  # optimiser, validation
    return known[key]


# ------------------------------------------------------------------------------------- experiments


def _one(job: Job, source: Source, data: TrainData, length: Length) -> dict[str, Any]:
    options = options_of("simple", source.data.features)
    settings = Settings(
        places=4,
        block=4,
        objective="mixture" if job.what == "mixture" else "upper",
        estimator="exact",
        steps=length.one,
        learning_rate=2e-3,
        logit_rate=2e-3,
        batch_size=512,
        warm_up=0.0,
        temperature=1.0,
        drop=0.0,
        proposals="weights",
    )
    found = search(options, data, settings, seed=job.seed)
    path = found.candidates[0]
    train = TrainSpec(optimiser="adam", learning_rate=2e-3, batch_size=512, steps=length.one)
    return {
        "weights": [row[0] for row in found.weights],  # of planar
        "history": found.history.brief(40),
        "path": path,
        **_alone(spec_of(options, path, source.data.features), train, source, data, job.seed),
    }


def _two(job: Job, source: Source, data: TrainData, length: Length) -> dict[str, Any]:
    features = source.data.features
    options = options_of("types", features)
    batch = 256
    table = CostTable(COSTS)
    each = {
        emphasis: relative(options, table.costs(emphasis, options, features, batch=batch))
        for emphasis in EMPHASES
    }
    train = TrainSpec(learning_rate=3e-3, batch_size=batch, steps=length.two)
    began = time.process_time()  # other work on the machine favours no method
    if job.what in MANUAL:
        path = (MANUAL[job.what],) * length.places
        seconds = length.two_seconds
    else:
        settings = Settings(
            places=length.places,
            block=min(4, length.places),
            passes=3 if job.what == "block" else 1,
            estimator="sampled",
            batch_size=batch,
            steps=1_000_000,  # the seconds end it
            candidates=1 if job.what == "darts" else 8,
            warm_up=0.0 if job.what == "darts" else 0.4,
            drop=0.0 if job.what == "darts" else 0.02,
            temperature=1.0 if job.what == "darts" else 0.5,
            proposals="weights" if job.what == "darts" else "tuned",
        )
        plans = {
            "darts": RacePlan(rungs=(0.25,), keep=(1,)),
            "random": RacePlan(rungs=(1.0,), keep=(4,)),
        }
        units = each[job.emphasis]
        choice = choose(
            options,
            data,
            train,
            settings,
            method="halving" if job.what in ("halving", "random") else "gradient",
            plan=plans.get(job.what),
            costs=units,
            price=lambda: _price(job, length, units),
            seed=job.seed,
            seconds=(1 - TUNING) * length.two_seconds,
            clock=time.process_time,
        )
        path, seconds = choice.path, TUNING * length.two_seconds
    spec = spec_of(options, path, features)
    train = _tuned(spec, train, data, seconds, job.seed)
    searched = time.process_time() - began
    return {
        "path": path,
        "cost": {emphasis: cost_of(path, costs) for emphasis, costs in each.items()},
        "costs": each,
        "learning_rate": train.learning_rate,
        "search_seconds": searched,
        "parameters": spec.parameter_count(),
        **_alone(spec, train, source, data, job.seed + 1000),
    }


def _price(job: Job, length: Length, units: Sequence[float]) -> Price:
    """Price cost, or find the price that keeps it below that of spline autoregressive layers."""
    if job.what != "target":
        return Fixed(job.price)
    return Target(job.price * cost_of((MANUAL["autoregressive"],) * length.places, units))


def _tuned(
    spec: FlowSpec, train: TrainSpec, data: TrainData, seconds: float, seed: int
) -> TrainSpec:
    """Choose a learning rate on validation rows."""
    found = []
    for rate in RATES:
        tried = msgspec.structs.replace(train, learning_rate=rate)
        _, (result,) = train_stack(
            [spec],
            [tried],
            [seed],
            data,
            batches=seed,
            steps=train.steps,
            seconds=seconds / len(RATES),
            clock=time.process_time,
        )
        found.append((result.nll, tried))
    return min(found, key=lambda each: each[0])[1]


def _oracle(job: Job, source: Source, data: TrainData, length: Length) -> dict[str, Any]:
    options = options_of(length.types, source.data.features)
    spec = spec_of(options, tuple(map(int, job.what)), source.data.features)
    return _alone(spec, _short(length), source, data, job.seed)


def _oracle_search(job: Job, source: Source, data: TrainData, length: Length) -> dict[str, Any]:
    options = options_of(length.types, source.data.features)
    settings = Settings(
        places=length.oracle_places,
        block=length.oracle_places,
        estimator="sampled",
        steps=max(4, round(0.6 * length.oracle)),
    )
    method = "halving" if job.what == "halving" else "gradient"
    # Trained alone just before and after, so that both sides of the ratio saw the same machine.
    # In these flows each type is as frequent as in all of them.
    half = len(options) // 2
    turns = [
        tuple((k + i) % len(options) for i in range(length.oracle_places))
        for k in range(len(options))
    ]

    def trained_alone(paths: list[tuple[int, ...]]) -> float:
        began = time.process_time()
        for path in paths:
            spec = spec_of(options, path, source.data.features)
            _alone(spec, _short(length), source, data, job.seed)
        return time.process_time() - began

    before = trained_alone(turns[:half])
    began = time.process_time()
    choice = choose(options, data, _short(length), settings, method=method, seed=job.seed)
    searched = time.process_time() - began
    alone = (before + trained_alone(turns[half:])) / len(turns)
    candidates = [
        ("".join(map(str, choice.paths[r.position])), r.nlls) for r in choice.raced if r.nlls
    ]
    flows = len(options) ** length.oracle_places
    return {
        "path": choice.path,
        "candidates": candidates[:16],
        "search_cpu": searched,
        "alone_cpu": alone,
        "share_of_all": searched / (flows * alone),
    }


def _short(length: Length) -> TrainSpec:
    return TrainSpec(learning_rate=3e-3, batch_size=256, steps=length.oracle)


def _alone(
    spec: FlowSpec, train: TrainSpec, source: Source, data: TrainData, seed: int
) -> dict[str, Any]:
    """Train a flow alone and score it on validation and, once, on test rows."""
    stack, (result,) = train_stack(
        [spec], [train], [seed], data, batches=seed, steps=train.steps, seconds=None
    )
    part = source.data.parts[2]
    logdet = torch.from_numpy(part.logdet)
    test, error = mean_nll(stack, torch.from_numpy(part.z), logdet=logdet)
    return {
        "validation_nll": result.nll,
        "test_nll": float(test),
        "test_nll_2se": float(error),
        "training_seconds": result.seconds,
    }
