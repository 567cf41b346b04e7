"""studies/gonsior2021: statistics, searches, flows and tables, without long trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "studies" / "gonsior2021"


def sample(mean: float, searches: int, rng: np.random.Generator, spread: float = 0.0):
    """Five trainings a search on 20 blocks; search seeds differ by `spread`."""
    return [
        mean + spread * rng.normal() + 0.05 * rng.normal(size=(5, 1)) + np.linspace(-1, 1, 20)
        for _ in range(searches)
    ]


# -------------------------------------------------------------------------------------- statistics


def test_weights_of_each_draw_share_out_one_over_searches_and_trainings() -> None:
    from inference import resampled

    parts = [np.zeros((5, 3)), np.zeros((2, 3))]
    weights = resampled(parts, 4000, np.random.default_rng(0))
    assert weights.shape == (4000, 7)
    assert np.allclose(weights.sum(axis=1), 1.0)
    assert weights.mean(axis=0) == pytest.approx([0.1] * 5 + [0.25] * 2, abs=0.02)
    first = weights[:, :5].sum(axis=1)
    assert set(np.round(first, 6)) == {0.0, 0.5, 1.0}, "whole search seeds are drawn"


def test_common_rows_cancel_and_search_seeds_widen_the_interval() -> None:
    from inference import compare

    rng = np.random.default_rng(1)
    one, other = sample(0.0, 3, rng), sample(0.5, 1, rng)
    found = compare(one, other, 0.1)
    assert found.difference == pytest.approx(-0.5, abs=0.1)
    assert found.high - found.low < 0.3, "blocks are the same rows on both sides"
    assert found.searches == 3
    wide = compare(sample(0.0, 3, rng, spread=1.0), other, 0.1)
    assert wide.high - wide.low > 3 * (found.high - found.low)


def test_a_training_that_diverged_is_the_worst_and_breaks_nothing() -> None:
    from inference import compare

    rng = np.random.default_rng(2)
    good = sample(0.0, 1, rng)
    bad = [np.where(np.arange(5)[:, None] == 0, np.nan, good[0])]
    found = compare(bad, good, 0.1)
    assert found.difference > 100
    assert np.isfinite([found.low, found.high]).all()


def test_blocks_must_agree() -> None:
    from inference import compare

    with pytest.raises(ValueError, match="`first` and `second`"):
        compare([np.zeros((2, 3))], [np.zeros((2, 4))], 0.1)


def test_pooling_shows_what_no_data_set_shows_alone() -> None:
    from inference import compare, pooled, signs

    def searches(mean: float) -> list[np.ndarray]:
        return [np.full((5, 20), mean + offset) for offset in (-1.0, 0.0, 1.0)]

    scales = (0.05, 0.1, 0.2, 0.4, 0.8)
    pairs = [([m * x for x in searches(-0.7)], [m * x for x in searches(0.0)], m) for m in scales]
    alone = {str(k): compare(one, other, m) for k, (one, other, m) in enumerate(pairs)}
    assert set(signs(alone).values()) == {"level"}
    whole = pooled(pairs)
    assert whole.difference == pytest.approx(-0.7)
    widths = [(one.high - one.low) / one.margin for one in alone.values()]
    assert whole.high - whole.low < 0.6 * np.mean(widths), "five sets say more than one"
    assert whole.high - whole.low == pytest.approx(1.96 * whole.two_se, rel=0.1)
    assert (whole.better, whole.sets) == (5, 5)
    turned = pooled([(other, one, margin) for one, other, margin in pairs])
    assert turned.difference == pytest.approx(-whole.difference)
    assert turned.above > 0.9 > 0.1 > whole.above


def test_the_pooled_lead_that_the_page_tells_is_that_of_the_results() -> None:
    """README.md, docs/evidence.md: evolved less random, permutation + LU, five tables."""
    from claims import FILES
    from run import finished
    from verdicts import equal_size

    rows = list(finished(FOLDER / "results.jsonl").values())
    some = [r for r in rows if r["kind"] == "couplings" and r["mixing"] == "mixed"]
    lines = [line for line in equal_size(some, FILES)[0] if line.startswith("Pooled over 5")]
    told = "-0.85 margins (two standard errors 0.57, 95% -1.40 to -0.30), better in the mean on 5"
    assert len(lines) == 3
    assert told in lines[-1], "of parity, dependence and random draws the last"


def test_holm_steps_down_and_never_falls() -> None:
    from inference import holm

    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize(
    ("shift", "verdict", "sign"),
    [
        (-0.5, "holds", "better"),
        (0.0, "does not hold", "level"),
        (0.5, "does not hold", "worse"),
        (-0.2, "undecided", "better"),
    ],
)
def test_verdicts_weigh_against_the_margin(shift: float, verdict: str, sign: str) -> None:
    from inference import compared, signs, verdicts

    draws = shift + 0.05 * np.random.default_rng(3).normal(size=10_000)
    found = {"set": compared(shift, draws, 0.199, 3)}
    assert verdicts(found) == {"set": verdict}
    assert signs(found) == {"set": sign}


def test_more_sets_need_more_evidence() -> None:
    from inference import compared, verdicts

    draws = np.random.default_rng(4).normal(size=10_000)
    one = compared(-2.0, -2.1 + draws, 0.1, 3)  # about 2 standard deviations beyond the margin
    assert verdicts({"a": one}) == {"a": "holds"}
    assert set(verdicts(dict.fromkeys("abcde", one)).values()) == {"undecided"}


def test_steps_to_a_value_are_between_checks_and_end_with_the_training() -> None:
    from inference import steps_to

    curve = [(10, 3.0), (20, 2.0), (30, 2.5), (40, 1.0)]
    assert steps_to(curve, 2.5, 50) == 15
    assert steps_to(curve, 5.0, 50) == 10
    assert steps_to(curve, 0.5, 50) == 50


def test_the_smallest_size_is_of_those_within_the_limit() -> None:
    from inference import smallest

    nlls = np.array([[1.0, 0.4, 0.1], [0.2, 0.2, 0.2], [9.0, 9.0, 9.0]])
    assert smallest([10, 20, 40], nlls, np.full(3, 0.5)).tolist() == [20, 10, np.inf]


# ---------------------------------------------------------------------------------------- searches


def test_a_mean_of_several_beats_the_luckiest_training() -> None:
    from searches import ranked

    told = [("steady", x) for x in (0.9, 1.0, 1.1, 1.0)] + [("lucky", 0.85)]
    told += [(name, x) for name in "cde" for x in (1.3, 2.5)]
    assert ranked(told)[:2] == ["steady", "lucky"]
    assert ranked([("a", np.inf), ("b", 1.0), ("c", 2.0)]) == ["b", "c", "a"]


@pytest.mark.parametrize("evaluations", [16, 50, 128])
def test_random_draws_spend_the_budget_and_look_again_at_the_best(evaluations: int) -> None:
    from searches import drawn

    numbers = iter(range(1000))
    seen = []

    def evaluate(some, seeds):
        seen.extend(seeds)
        return [float(one) for one in some]

    told = drawn(lambda: next(numbers), evaluate, evaluations=evaluations, batch=7)
    assert evaluations - 4 <= len(told) <= evaluations
    assert seen == list(range(len(told))), "each training has a seed of its own"
    counts = [sum(one == k for one, _ in told) for k in range(3)]
    assert counts[0] > 1


def test_evolution_spends_the_budget_and_trains_no_child_that_is_not_allowed() -> None:
    from searches import evolve

    from nfopt.evolution import EdgeBlock, Genome, Layout

    layout = Layout((), edges=EdgeBlock(5))
    full = Genome((), None, None, ~np.eye(5, dtype=bool))
    told = evolve(
        layout,
        [full],
        lambda genomes, numbers: [float(genome.parents.sum()) for genome in genomes],
        evaluations=40,
        batch=8,
        rng=np.random.default_rng(0),
        allowed=lambda genome: genome.parents.sum() <= 10,
    )
    assert len(told) == 40
    assert told[0][0].parents.sum() == 20, "what it begins with needs no permission"
    children = [genome.parents.sum() for genome, _ in told if genome.key != told[0][0].key]
    assert max(children) <= 10
    assert min(value for _, value in told) < 5


def test_a_race_goes_by_means_and_trains_the_last_ones_most() -> None:
    from searches import race_trainings, raced

    values = {"a": [0.0, 4.0], "b": [1.0, 1.0], "c": [3.0, 3.0], "d": [5.0, 5.0]}
    seeds: list[int] = []

    def evaluate(some, numbers):
        seeds.extend(numbers)
        return [values[one][number % 2] for one, number in zip(some, numbers, strict=True)]

    winner, race = raced(list("abcd"), evaluate, 2)
    assert winner == "b"
    times = [sum(place == k for place, _ in race) for k in range(4)]
    assert times == [4, 4, 2, 2]
    assert seeds == list(range(12))
    assert race_trainings(4, 2) == 12
    assert raced(["only"], evaluate=lambda some, numbers: [1.0] * len(some), times=1)[0] == "only"


# ------------------------------------------------------------------------------------------- flows


@pytest.mark.parametrize("mixing", [False, True])
def test_a_mask_follows_its_features_through_permutations(mixing: bool) -> None:
    from couplings import flow, permuted_halves

    masks = permuted_halves(4, 7, np.random.default_rng(0))
    spec = flow(masks, 8, mixing)
    stands, seen = np.arange(7), []
    for layer in spec.layers:
        if layer.kind == "permutation":
            stands = stands[list(layer.order)]
        elif layer.kind == "coupling":
            letters = np.empty(7, dtype="<U1")
            letters[stands] = list(layer.mask)
            seen.append("".join(letters))
    assert seen == ["".join(row) for row in masks]
    assert len(spec.layers) == (10 if mixing else 4)


def test_strongest_parents_are_taken_from_both_sides() -> None:
    from graphs import Candidate, Plan, flow, full, strongest
    from trainings import Schedule

    strength = np.array(
        [[0, 3, 1, 2], [3, 0, 1, 2], [1, 1, 0, 5], [2, 2, 5, 0]], dtype=float
    )  # fmt: skip
    parents = strongest(strength, 1)
    assert [np.flatnonzero(row).tolist() for row in parents] == [[1], [0, 3], [0, 3], [2]]
    assert (strongest(strength, 3) == full(4)).all()
    spec = flow(parents, 8, Plan(Schedule(1, 1, 1, (1e-3,))))
    assert [layer.parents for layer in spec.layers] == [
        ((), (0,), (0,), (2,)),
        ((1,), (3,), (3,), ()),
    ]
    assert (Candidate.of(parents, 0).parents(4) == parents).all()


def test_f1_of_edges_knows_no_direction() -> None:
    from graphs import skeleton_f1

    truth = np.zeros((3, 3), dtype=bool)
    truth[1, 0] = truth[2, 1] = True
    assert skeleton_f1(truth.T, truth) == 1.0
    assert skeleton_f1(np.zeros((3, 3), dtype=bool), truth) == 0.0
    assert skeleton_f1(~np.eye(3, dtype=bool), truth) == pytest.approx(0.8)


# ------------------------------------------------------------------------------------ jobs, tables


def test_jobs_come_once_and_after_what_they_need() -> None:
    from claims import FILES, FULL, jobs, needs

    seen: set[str] = set()
    for job in jobs(FULL, FILES):
        assert job.key not in seen
        assert set(needs(job)) <= seen
        seen.add(job.key)
    for name in FILES.claims:
        for mixing in ("plain", "mixed"):
            evolved = {key for key in seen if key.startswith(f"couplings/{name}/{mixing}/evolved")}
            assert len(evolved) == FULL.searches


def test_tables_tell_a_clear_case_and_star_a_single_search() -> None:
    from claims import FULL, TINY
    from verdicts import tables

    def entry(design: str, level: float, **more):
        finals = [
            {"nll": level, "test": [level + 0.01 * k + b for b in range(8)], "cpu": 1.0,
             "curve": [(100, level + 1), (800, level)]}
            for k in range(5)
        ]  # fmt: skip
        return {"design": design, "rate": 0.01, "parameters": 100.0, "finals": finals, **more}

    shared = {"kind": "couplings", "data": "wine", "mixing": "plain", "features": 13, "rows": 0}
    rows = [
        {**shared, "seed": 0, "entries": [entry("parity", 5.0), entry("dependence", 5.0)]},
        {**shared, "seed": 0, "entries": [entry("evolved", 3.0)], "search_cpu": 10.0},
    ]
    text = tables(rows, FULL, TINY)
    assert "| Claim 3 | without linear mixing | holds* |" in text
    assert "| Claim 1 | without linear mixing | holds* |" in text
    rows.append({**shared, "seed": 1, "entries": [entry("evolved", 5.0)], "search_cpu": 10.0})
    assert "| Claim 3 | without linear mixing | undecided |" in tables(rows, FULL, TINY)
