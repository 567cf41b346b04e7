from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfopt.evolution.engine import Evolution, Proposal, Record, Settings
from nfopt.evolution.genome.blocks import MaskBlock
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Category, Integer, Real

from .layouts import LAYOUTS

BITS = Layout((Category(2),) * 12)
FEWER = Settings(children=15)  # the tests take less time


def bits(genome: Genome) -> np.ndarray:
    if genome.masks is not None:
        return (genome.masks == "T").ravel()
    return np.array(genome.values)


def told(number: int, proposal: Proposal, value: float | None, **other: object) -> Record:
    state = "running" if value is None else "complete"
    values = None if value is None else (value,)
    return Record(
        number, proposal.genome, state, values,
        operator=proposal.operator, parents=proposal.parents, **other,  # type: ignore[arg-type]
    )  # fmt: skip


def drive(
    evolution: Evolution, value: Callable[[Genome], float], runs: int, seed: int = 0
) -> list[Proposal]:
    rng, proposals = np.random.default_rng(seed), []
    for number in range(runs):
        proposals.append(evolution.ask(rng))
        evolution.tell(told(number, proposals[-1], value(proposals[-1].genome)))
    return proposals


def ones(genome: Genome) -> float:
    return -float(bits(genome).sum())


def test_the_same_rng_gives_the_same_proposals() -> None:
    layout = LAYOUTS["pairs"]
    runs = [
        drive(Evolution(layout), lambda g: float(np.hypot(*g.values[:2])), 40) for _ in range(2)
    ]
    assert [p.genome for p in runs[0]] == [p.genome for p in runs[1]]
    assert [p.operator for p in runs[0]] == [p.operator for p in runs[1]]


def test_first_genomes_come_first_and_once() -> None:
    first = [Genome((1,) * 12), Genome((0,) * 12), Genome((1,) * 12)]
    proposals = drive(Evolution(BITS, first=first), ones, 6)
    assert [p.genome for p in proposals[:2]] == first[:2]
    assert [p.operator for p in proposals[:4]] == ["first", "first", "random", "random"]


def test_before_anything_is_known_first_genomes_have_children() -> None:
    layout, rng = LAYOUTS["pairs"], np.random.default_rng(0)
    first = [layout.random(rng) for _ in range(4)]
    evolution = Evolution(layout, first=first)
    proposals = []
    for number in range(10):
        proposals.append(evolution.ask(rng))
        evolution.tell(told(number, proposals[-1], None))
    assert [p.operator for p in proposals[:4]] == ["first"] * 4
    assert not {"first", "random", "replicate"} & {p.operator for p in proposals[4:]}
    assert len({p.genome for p in proposals}) == 10


@pytest.mark.parametrize("preset", [Settings(), Settings.classic()])
def test_no_duplicates_with_sixteen_outstanding_until_the_space_is_exhausted(
    preset: Settings,
) -> None:
    layout = Layout((Category(2),) * 4 + (Integer(1, 4),))  # 64 genomes
    evolution, rng = Evolution(layout, settings=preset), np.random.default_rng(3)
    running: list[tuple[int, Proposal]] = []
    seen: Counter[bytes] = Counter()
    for number in range(90):
        exhausted = len(seen) == 64
        proposal = evolution.ask(rng)
        assert proposal.replicate == (proposal.genome.key in seen)
        if exhausted:
            assert proposal.replicate
        seen[proposal.genome.key] += 1
        evolution.tell(told(number, proposal, None))
        running.append((number, proposal))
        if len(running) == 16:
            done, which = running.pop(int(rng.integers(16)))
            evolution.tell(told(done, which, ones(which.genome) + 0.3 * rng.normal()))
    assert len(seen) == 64


def test_an_exhausted_space_replicates_the_least_replicated_of_the_best() -> None:
    layout = Layout((Integer(1, 20),))
    evolution = Evolution(layout)
    proposals = drive(evolution, lambda g: float(g.values[0]), 60)
    assert len({p.genome for p in proposals}) == 20
    again = Counter(int(p.genome.values[0]) for p in proposals if p.replicate)
    assert set(again) <= {1, 2, 3, 4, 5}
    assert max(again.values()) - min(again.values()) <= 2


def test_held_values_are_kept_and_exhaust_only_their_part() -> None:
    layout, rng = LAYOUTS["pairs"], np.random.default_rng(1)
    evolution = Evolution(layout)
    drive(evolution, lambda g: float(g.values[4]), 30)
    held = {0: 4, 2: 1, 3: 64}
    for number in range(100, 120):
        proposal = evolution.ask(rng, held=held)
        assert all(proposal.genome.values[i] == x for i, x in held.items())
        evolution.tell(told(number, proposal, float(proposal.genome.values[4])))
    small = Evolution(Layout((Integer(1, 3), Integer(1, 3))))
    drive(small, lambda g: float(sum(g.values)), 4)
    for number in range(10, 16):
        proposal = small.ask(rng, held={0: 2})
        assert proposal.genome.values[0] == 2
        small.tell(told(number, proposal, 1.0))
    assert proposal.replicate
    assert not small.ask(rng).replicate


def test_a_deterministic_objective_is_hardly_ever_run_again() -> None:
    evolution = Evolution(Layout((), MaskBlock(4, 8)), settings=FEWER)
    proposals = drive(evolution, ones, 80)
    assert 2 <= sum(p.replicate for p in proposals) <= 3
    assert evolution.noise == (0.0,)
    assert evolution.reliability == 1.0


def test_a_noisy_one_is_run_again_and_the_noise_is_found() -> None:
    rng = np.random.default_rng(5)
    evolution = Evolution(Layout((), MaskBlock(4, 8)), settings=FEWER)
    proposals = drive(evolution, lambda g: ones(g) + 2 * rng.normal(), 200)
    assert 0.05 <= np.mean([p.replicate for p in proposals]) <= 0.15
    assert evolution.noise[0] == pytest.approx(2.0, rel=0.4)
    incumbent = evolution.incumbent()
    assert incumbent is not None
    assert len(incumbent.numbers) > 1
    assert incumbent.sd > 0


def test_the_incumbent_is_not_the_luckiest_run() -> None:
    evolution = Evolution(BITS)
    genomes = [Genome(tuple(int(b) for b in f"{i:012b}")) for i in range(20)]
    for number, genome in enumerate(genomes[2:]):
        evolution.tell(Record(number, genome, "complete", (5.0 + number % 3,)))
    evolution.tell(Record(30, genomes[0], "complete", (1.0,)))  # one lucky run
    for number, value in enumerate([0.5, 2.5, 1.0, 2.0, 1.6, 1.4]):
        evolution.tell(Record(40 + number, genomes[1], "complete", (value,)))
    incumbent = evolution.incumbent()
    assert incumbent is not None
    assert incumbent.genome == genomes[1]
    assert incumbent.numbers == (40, 41, 42, 43, 44, 45)


def test_several_objectives() -> None:
    layout = Layout((Real(0.0, 1.0), Real(0.0, 1.0)))
    evolution, rng = Evolution(layout, objectives=2, settings=FEWER), np.random.default_rng(0)
    for number in range(150):
        proposal = evolution.ask(rng)
        x, y = proposal.genome.values
        record = Record(
            number, proposal.genome, "complete", (x**2 + y, (x - 1) ** 2 + y),
            operator=proposal.operator, parents=proposal.parents,
        )  # fmt: skip
        evolution.tell(record)
    front = np.array([point.means for point in evolution.front()])
    assert len(front) > 10
    assert (front.sum(axis=1) < 1.1).mean() > 0.5  # the true front has y = 0
    assert np.ptp(front[:, 0]) > 0.4
    with pytest.raises(ValueError, match=r"`values` must have 2 entries"):
        evolution.tell(Record(999, proposal.genome, "complete", (1.0,)))


def test_constraints_keep_the_incumbent_feasible() -> None:
    layout, rng = Layout((Real(0.0, 1.0), Real(0.0, 1.0))), np.random.default_rng(0)
    evolution = Evolution(layout, settings=FEWER)
    for number in range(120):
        proposal = evolution.ask(rng)
        x, y = proposal.genome.values
        evolution.tell(told(number, proposal, x + y, violation=0.5 - x))
    incumbent = evolution.incumbent()
    assert incumbent is not None
    assert 0.5 <= incumbent.genome.values[0] < 0.6
    assert incumbent.genome.values[1] < 0.1


def test_the_classic_preset_has_only_its_own_operators() -> None:
    evolution = Evolution(LAYOUTS["pairs"], settings=Settings.classic())
    proposals = drive(evolution, lambda g: float(g.values[4]), 100)
    names = {name for p in proposals for name in p.operator.split("+")}
    assert names == {"random", "cross_all", "plain_values", "plain_masks"}


STATES = st.sampled_from(["complete", "complete", "complete", "pruned", "failed", "running"])


@settings(max_examples=25)
@given(
    st.sampled_from(["values", "pairs", "idle", "orders", "edges", "all", "one category"]),
    st.lists(st.tuples(STATES, st.floats(-1e9, 1e9), st.booleans()), max_size=30),
    st.randoms(use_true_random=False),
)
def test_any_order_of_tells_of_any_records_can_be_asked_on(
    name: str, rows: list[tuple[str, float, bool]], random: object
) -> None:
    layout, rng = LAYOUTS[name], np.random.default_rng(0)
    evolution = Evolution(layout)
    records = [
        Record(
            number,
            layout.random(rng),
            state,  # type: ignore[arg-type]
            (value,) if state == "complete" else None,
            {1: value} if state in {"complete", "pruned"} else {},
            violation=float(broken),
            operator="steps",
            parents=(number // 2, 99),
        )
        for number, (state, value, broken) in enumerate(rows)
    ]
    random.shuffle(records)  # type: ignore[attr-defined]
    for record in [*records, *records]:
        evolution.tell(record)
    for number in range(3):
        proposal = evolution.ask(rng)
        assert layout.feasible(proposal.genome)
        evolution.tell(told(100 + number, proposal, float(number)))
    assert evolution.incumbent() is not None
