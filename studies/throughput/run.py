"""Training steps a second a member: a stack of nfopt flows against peers, one flow at a time.

    python studies/throughput/run.py            # the full measurement, about fifteen minutes
    python studies/throughput/run.py --quick    # does it run? The figures are noise

Needs the extra `peers`, and a machine that does nothing else. Variants are interleaved: every round
times each once, primed just before, so that a slow minute of the machine falls on all of them. A
ratio is taken within its round, and the median over the rounds is reported, with the lowest and the
highest.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ours import BATCH, CASES, balanced, drawer, noise, our_stack, our_step, train_specs
from peers import Case, Trainer, checkered, nflows_trainer, normflows_trainer, zuko_trainer
from profile_shares import shares
from torch import Tensor

from nfopt.training.optimiser import PopulationAdam

ASKED = {"affine, D 8": 3.5, "affine, D 43": 2.7, "spline, D 8": 4.5, "spline, D 43": 2.8}
STACK = 16
REFERENCE = "zuko, Adam"
OURS = f"nfopt, P {STACK}"
UNEQUAL = f"nfopt, P {STACK}, unequal masks"
UNEQUAL_REFERENCE = "zuko, Adam, unequal masks"


@dataclass
class Variant:
    """Trainers that run one after the other, each taking the same number of steps.

    Attributes:
        steps: What draws a batch and takes a step with it, one a trainer.
        members: Flows that one trainer trains in one step.
        rates: Member steps a second, one figure a round.
    """

    name: str
    steps: Sequence[Callable[[], None]]
    members: int = 1
    rates: list[float] = field(default_factory=list)

    def burst(self, steps: int) -> float:
        """Take `steps` steps with every trainer; return member steps a second."""
        start = time.perf_counter()
        for step in self.steps:
            for _ in range(steps):
                step()
        return steps * len(self.steps) * self.members / (time.perf_counter() - start)

    def round(self, seconds: float) -> None:
        """Prime, then time a burst of about `seconds`."""
        rate = max(self.burst(1), self.burst(2))
        each = len(self.steps) * self.members
        self.burst(max(1, round(0.25 * seconds * rate / each)))
        self.rates.append(self.burst(max(2, round(seconds * rate / each))))


def our_own_batches_step(
    case: Case, letters: Sequence[Sequence[str]], rows: Tensor
) -> Callable[[], None]:
    """The same with a minibatch for each member, (P, B, D)."""
    stack = our_stack(case, letters)
    optimiser = PopulationAdam(stack.theta, train_specs(len(letters)))
    draw = drawer(rows, (len(letters), BATCH))

    def step() -> None:
        stack.log_prob(draw()).mean(1).sum().neg().backward()
        optimiser.step(0.5)

    return step


def unequal(case: Case, members: int, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Masks with anything from 1 to D-1 features transformed."""
    counts = rng.integers(1, case.features, size=(members, case.layers))
    return [
        tuple(
            "".join(rng.permutation(list("T" * count + "C" * (case.features - count))))
            for count in row
        )
        for row in counts
    ]


def variants(case: Case, wanted: Sequence[str] | None = None) -> list[Variant]:
    """All that is compared for a case, or the named ones only."""
    rng = np.random.default_rng(0)
    rows = noise(case)
    draw = drawer(rows, (BATCH,))
    plain, odd = checkered(case), unequal(case, STACK, rng)

    def peer(*trainers: Trainer) -> list[Callable[[], None]]:
        return [lambda trainer=trainer: trainer(draw()) for trainer in trainers]

    def ours(members: int) -> list[Callable[[], None]]:
        return [our_step(case, balanced(case, members, rng), rows)]

    makers: dict[str, tuple[Callable[[], Sequence[Callable[[], None]]], int]] = {
        REFERENCE: (lambda: peer(zuko_trainer(case, plain)), 1),
        "zuko, fused Adam": (lambda: peer(zuko_trainer(case, plain, fused=True)), 1),
        "nflows, Adam": (lambda: peer(nflows_trainer(case, plain)), 1),
        "normflows, Adam": (lambda: peer(normflows_trainer(case, plain)), 1),
        **{f"nfopt, P {p}": (lambda p=p: ours(p), p) for p in (1, 4, STACK, 64)},
        f"{OURS}, own batches": (
            lambda: [our_own_batches_step(case, balanced(case, STACK, rng), rows)],
            STACK,
        ),
        UNEQUAL_REFERENCE: (lambda: peer(*(zuko_trainer(case, list(x)) for x in odd)), 1),
        UNEQUAL: (lambda: [our_step(case, odd, rows)], STACK),
    }
    return [
        Variant(name, make(), members)
        for name, (make, members) in makers.items()
        if wanted is None or name in wanted
    ]


def reference_of(name: str) -> str:
    return UNEQUAL_REFERENCE if name.endswith("unequal masks") else REFERENCE


def measure(
    case: Case, rounds: int, seconds: float, wanted: Sequence[str] | None = None
) -> dict[str, dict[str, object]]:
    """Time all variants of a case in interleaved rounds."""
    compared = variants(case, wanted)
    for number in range(rounds):
        start = number % len(compared)
        for variant in compared[start:] + compared[:start]:
            variant.round(seconds)
        print(f"{case.name}: round {number + 1} of {rounds}", file=sys.stderr)
    rates = {variant.name: variant.rates for variant in compared}
    results: dict[str, dict[str, object]] = {}
    for name, own in rates.items():
        ratios = [a / b for a, b in zip(own, rates[reference_of(name)], strict=True)]
        results[name] = {
            "rates": own,
            "rate": median(own),
            "ratio": median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
        }
    return results


def table(results: dict[str, dict[str, dict[str, object]]], asked: bool) -> str:
    """Markdown: one row a variant, one column a case; ratio (lowest to highest), steps a second."""
    names = list(results)
    lines = [f"| variant | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for variant in results[names[0]]:
        cells = []
        for name in names:
            r = results[name][variant]
            cells.append(
                f"{r['ratio']:.2f} ({r['lowest']:.2f} to {r['highest']:.2f}), {r['rate']:.0f}/s"
            )
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    if asked:
        goals = " | ".join(f"at least {ASKED[name]}" for name in names)
        lines.append(f"| asked of {OURS} | {goals} |")
    return "\n".join(lines)


def share_table(results: dict[str, dict[str, float]]) -> str:
    names = list(results)
    lines = [f"| part | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for part in results[names[0]]:
        cells = " | ".join(f"{results[name][part]:.0%}" for name in names)
        lines.append(f"| {part} | {cells} |")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    info = Path("/proc/cpuinfo")
    models = [
        line.split(":", 1)[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    packages = {name: version(name) for name in ("torch", "zuko", "nflows", "normflows")}
    return {
        "cpu": (models or [platform.processor()])[0],
        "python": platform.python_version(),
        **packages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="two short rounds at D 8: does it run?"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one timed burst")
    parser.add_argument("--cases", nargs="*", help='such as "affine, D 8"; default all')
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    options = parser.parse_args()
    rounds, seconds = (2, 0.1) if options.quick else (options.rounds, options.seconds)
    wanted = options.cases or [
        case.name for case in CASES if case.features == 8 or not options.quick
    ]
    cases = [case for case in CASES if case.name in wanted]
    if not cases:
        parser.error(f"`--cases` must be of {[case.name for case in CASES]}, got {options.cases}")

    torch.set_num_threads(1)
    one_thread = {case.name: measure(case, rounds, seconds) for case in cases}
    parts = {}
    for case in cases:
        (ours,) = variants(case, [OURS])
        parts[case.name] = shares(lambda v=ours: v.burst(1), steps=3 if options.quick else 20)
    torch.set_num_threads(2)
    few = [REFERENCE, "zuko, fused Adam", OURS]
    two_threads = {case.name: measure(case, rounds, seconds, few) for case in cases}

    print(
        "One thread: ratio to zuko in the same round, median (lowest to highest);"
        " member steps a second\n"
    )
    print(table(one_thread, asked=True))
    print(f"\nWhere the time of {OURS} goes, one thread\n")
    print(share_table(parts))
    print("\nTwo threads: ratio to zuko on two threads\n")
    print(table(two_threads, asked=False))
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine().items()))
    if options.out:
        everything = {
            "machine": machine(),
            "rounds": rounds,
            "seconds": seconds,
            "one_thread": one_thread,
            "shares": parts,
            "two_threads": two_threads,
        }
        options.out.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
