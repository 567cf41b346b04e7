"""Who is retrained, who wins, and how the winner is scored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small_study import TRAIN, flow

from nfopt import recipes
from nfopt.data import Part
from nfopt.errors import StudyError
from nfopt.model import Flow
from nfopt.model.mixture import LEAST_GAIN
from nfopt.runner import budget as plan
from nfopt.runner import retrain as finish
from nfopt.runner.context import Run
from nfopt.runner.retrain import Finalist, Retraining, Trained
from nfopt.signals import Stop
from nfopt.spec import FlowSpec, Recipe, TrainSpec
from nfopt.study import stacks as scoring
from nfopt.study.dataset import Source
from nfopt.study.results import Score, gap_text, member_scores, mixture, score_of
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import train_stack
from nfopt.training import TrainData

A, B = (flow("CTC", width=width) for width in (4, 5))


def retraining(
    source: Source, clock: Callable[[], float] = time.monotonic, **more: Any
) -> Retraining:
    call = Run(Stop(), clock=clock)
    return Retraining(data=MappedRows(source.data), seed=0, call=call, **more)


def alone(picked: Sequence[tuple[Trained, int]]) -> Trained:
    ((only, times),) = picked
    assert times == 1
    return only


def finalists(*specs: FlowSpec, train: TrainSpec = TRAIN) -> list[Finalist]:
    return [Finalist(number, Recipe(spec, train)) for number, spec in enumerate(specs)]


def test_the_lowest_validation_nll_wins(source: Source) -> None:
    idle = TRAIN.__class__(steps=40, batch_size=64, learning_rate=1e-7)
    good = Finalist(1, Recipe(flow("CTC", "TCT"), TRAIN))
    best = alone(retraining(source).run([*finalists(A, train=idle), good]))
    assert best.finalist is good
    assert best.steps == TRAIN.steps


def test_flows_that_do_not_invert_or_have_no_density_are_passed_over(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled: dict[str, Any] = {"round_trip": 1.0, "nll": -100.0}

    def witness(*arguments: Any, **more: Any) -> Any:
        stack, results = train_stack(*arguments, **more)
        if arguments[0][0] == A:
            results = [type(r)(**(vars(r) | spoiled)) for r in results]
        return stack, results

    monkeypatch.setattr(finish, "train_stack", witness)
    kept = retraining(source, members=2).run(finalists(A, B))
    assert [each.finalist.spec for each, _ in kept] == [B]
    spoiled = {"nll": math.nan}
    kept = retraining(source, members=2).run(finalists(A, B))
    assert [each.finalist.spec for each, _ in kept] == [B]
    with pytest.raises(StudyError, match=r"None of 1 retrained flows.*not finite"):
        retraining(source).run(finalists(A))


def test_seeds_are_fresh_and_repeatable(source: Source) -> None:
    first, second = retraining(source).all(finalists(A) * 2)
    assert first.seed != second.seed
    assert first.nll != second.nll
    assert [each.nll for each in retraining(source).all(finalists(A) * 2)] == [
        first.nll,
        second.nll,
    ]


def test_time_that_is_left_trains_the_best_again(source: Source) -> None:
    long = TRAIN.__class__(steps=100_000, batch_size=64)
    now = [0.0]

    def clock() -> float:  # each look takes a hundredth of a second
        now[0] += 0.01
        return now[0]

    seen: list[tuple[Any, ...]] = []

    def witness(*arguments: Any, **more: Any) -> Any:
        seen.append(tuple(arguments[2]))
        now[0] += 2.0 * len(arguments[0])  # a full training is over before its share of the time
        return train_stack(*arguments, **(more | {"seconds": None, "steps": 2}))

    for more, stacks in ((0, [2]), (1, [2, 1]), (9, [2, 2])):
        seen.clear()
        now[0] = 0.0
        run = retraining(source, deadline=9.0, more=more, clock=clock)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(finish, "train_stack", witness)
            run.run(finalists(A, flow("TCC", width=4), train=long))
        # the two share their shape, and after two more nothing else fits
        assert [len(members) for members in seen] == stacks
        assert len(set(sum(seen, ()))) == sum(stacks)


def test_a_mixture_is_kept_where_it_is_better(source: Source) -> None:
    kept = retraining(source, members=3).run(finalists(A, flow("CTC", "TCT"), B))
    best = alone(retraining(source).run(finalists(A, flow("CTC", "TCT"), B)))
    assert kept[0][0].finalist == best.finalist
    total = sum(times for _, times in kept)
    mixed = mixture(
        torch.stack([each.scores.double() for each, _ in kept]), [n / total for _, n in kept]
    ).mean()
    assert len(kept) == 1 or mixed > best.scores.double().mean() + LEAST_GAIN


def test_stop_ends_the_retraining(source: Source) -> None:
    run = retraining(source)
    run.call = Run(Stop(lambda: True))
    with pytest.raises(KeyboardInterrupt):
        run.run(finalists(A))


def test_scores_are_those_of_the_flow(source: Source) -> None:
    data = source.data
    trained = retraining(source).all(finalists(A, B))
    specs, weights = [t.finalist.spec for t in trained], [t.weights for t in trained]
    model = Flow(specs, weights, data.preprocessing)
    part = data.parts[2]
    values = data.preprocessing.inverse(part.z.astype(np.float64))
    density = model.log_prob(values)
    score = score_of(mixture(member_scores(model, part)), part)
    assert score.nll == pytest.approx(-density.mean(), abs=1e-5)
    assert score.nll_2se == pytest.approx(2 * density.std(ddof=1) / len(density) ** 0.5, abs=1e-5)


def test_weighted_scores() -> None:
    scores = torch.tensor([1.0, 2.0, 3.0, 10.0], dtype=torch.float64)
    zeros = np.zeros((4, 1), dtype=np.float32)
    none = score_of(scores[:0], Part(z=zeros[:0], logdet=np.zeros(0)))
    assert np.isnan([none.nll, none.nll_2se]).all()
    assert gap_text(Score(1.0, 0.2), none) is None
    plain = score_of(scores[:3], Part(z=zeros[:3], logdet=np.zeros(3)))
    weights = np.array([1, 1, 1, 0], dtype=np.float32)
    weighted = score_of(scores, Part(z=zeros, logdet=np.zeros(4), weights=weights))
    assert plain.nll == weighted.nll == -2.0
    assert weighted.nll_2se == pytest.approx(2 * math.sqrt(2) / 3)


def test_a_gap_between_test_and_validation_is_told() -> None:
    assert gap_text(Score(1.0, 0.2), Score(1.5, 0.2)) is None
    said = gap_text(Score(1.0, 0.2), Score(1.6, 0.2))
    assert said is not None
    assert "4.2 joint standard errors" in said
    assert gap_text(Score(1.0, 0.2), Score(0.4, 0.2)) is not None


def test_many_rows_to_score_have_time_reserved(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = TrainData.of(source.data)
    assert scoring.scoring_seconds([A], rows, scoring.FREE_ROWS) == 0.0
    ticks = iter(range(100))
    seconds = scoring.scoring_seconds([A, A, B], rows, 30_000, clock=lambda: float(next(ticks)))
    assert seconds == scoring.SLOWER * 1.0 * 30_000 / len(rows.val)
    assert next(ticks) == 8, "flows of one shape are measured once"
    assert plan.leave(100.0, 40.0, 10.0) == 90.0
    assert plan.leave(100.0, 40.0, 1000.0) == 70.0
    assert plan.leave(100.0, 110.0, 10.0) == 100.0


def test_a_way_back_of_many_passes_is_measured_a_layer_of_each_kind() -> None:
    def seconds(features: int) -> float:
        ticks = iter(range(100))
        spec = recipes.autoregressive(features, depth=3)  # an LU layer before each
        return scoring.inverse_seconds([spec], "cpu", clock=lambda: float(next(ticks)))

    assert seconds(4) == 0.0
    assert seconds(scoring.FREE_PASSES // 3) == scoring.SLOWER * 6
