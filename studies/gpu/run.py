"""What a population is worth on a GPU: member steps a second, by the number of flows in a stack.

    python studies/gpu/run.py                          # about two minutes on one GPU
    python studies/gpu/run.py --quick                  # does it run? The figures are noise
    python studies/gpu/run.py --quick --device cpu     # does it run where there is no GPU?

The cases and the step are those of studies/throughput. Stacks on the GPU, and two on one CPU thread
beside them, are interleaved: every round times each once, primed just before. Ratios are taken
within a round; the median over the rounds is told, with the lowest and the highest. zuko is
compared with where it is installed.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

STUDIES = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(STUDIES / "throughput"), str(STUDIES.parent)]

from ours import BATCH, CASES, balanced, drawer, noise, our_step  # noqa: E402
from peers import Case, checkered, zuko_trainer  # noqa: E402

MEMBERS = (1, 4, 16, 64, 256, 1024)
ON_CPU = (1, 16)  # on one thread, beside the GPU's
BASE_CPU = "P 16, one CPU thread"
ZUKO = "zuko, Adam"
SLOWEST = 2.0  # seconds of a step; a slower stack is left out, and all larger ones
LIMIT = 140.0  # seconds of all rounds


def wait(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize(device)


@dataclass
class Variant:
    """One way to train flows of a case.

    Attributes:
        step: Draws a batch and takes a step with it.
        members: Flows that a step trains.
        peak: Bytes of the GPU's memory at most, its weights included, or None.
        rates: Member steps a second, one figure a round.
    """

    name: str
    step: Callable[[], None]
    members: int
    device: str
    peak: int | None = None
    rates: list[float] = field(default_factory=list)

    def burst(self, steps: int) -> float:
        """Take steps and wait for the last one; return the seconds of one."""
        wait(self.device)
        began = time.perf_counter()
        for _ in range(steps):
            self.step()
        wait(self.device)
        return (time.perf_counter() - began) / steps

    def round(self, seconds: float) -> None:
        """Prime, then time a burst of about `seconds`."""
        each = min(self.burst(1), self.burst(1))
        self.burst(max(1, round(0.25 * seconds / each)))
        taken = self.burst(max(2, round(seconds / each)))
        self.rates.append(self.members / taken)


def made(
    name: str, make: Callable[[], Callable[[], None]], members: int, device: str
) -> tuple[Variant | None, str]:
    """Make a variant and take its first steps; None, and why, where that does not work."""
    before = 0
    if device != "cpu":
        wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    try:
        variant = Variant(name, make(), members, device)
        variant.burst(1)
        taken = variant.burst(1)
        if device != "cpu":
            variant.peak = torch.cuda.max_memory_allocated(device) - before
    except RuntimeError as error:  # a lack of memory is one too
        return None, str(error).splitlines()[0]
    if taken > SLOWEST:
        return None, f"a step takes {taken:.1f} s"
    return variant, ""


def variants(
    case: Case, sizes: Sequence[int], device: str, notes: list[str], zuko: bool
) -> list[Variant]:
    """All that is compared for a case, the GPU's stacks first."""
    rng = np.random.default_rng(0)
    rows, here = noise(case, device), noise(case)
    found: list[Variant] = []

    def add(name: str, make: Callable[[], Callable[[], None]], members: int, where: str) -> bool:
        variant, why = made(name, make, members, where)
        if variant is None:
            notes.append(f"{case.name}, {name}: {why}")
            free(device)  # here, where the error and what it holds are gone
            return False
        found.append(variant)
        return True

    for count in sizes:
        letters = balanced(case, count, rng)
        if not add(f"P {count}", lambda m=letters: our_step(case, m, rows), count, device):
            break
    for count in ON_CPU:
        letters = balanced(case, count, rng)
        name = f"P {count}, one CPU thread"
        add(name, lambda m=letters: our_step(case, m, here), count, "cpu")
    if zuko:

        def peer() -> Callable[[], None]:
            trainer = zuko_trainer(case, checkered(case), device=device)
            draw = drawer(rows, (BATCH,))
            return lambda: trainer(draw())

        add(ZUKO, peer, 1, device)
    return found


def free(device: str) -> None:
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


def measure(
    case: Case,
    sizes: Sequence[int],
    device: str,
    rounds: int,
    seconds: float,
    until: float,
    notes: list[str],
    zuko: bool,
) -> dict[str, dict[str, Any]]:
    """Time all variants of a case in interleaved rounds; fewer of them where time is short."""
    compared = variants(case, sizes, device, notes, zuko)
    for number in range(rounds):
        if number and time.monotonic() > until:
            notes.append(f"{case.name}: {number} rounds, as time was short")
            break
        start = number % len(compared)
        broken: list[Variant] = []
        for variant in compared[start:] + compared[:start]:
            try:
                variant.round(seconds)
            except RuntimeError as error:
                notes.append(f"{case.name}, {variant.name}: {str(error).splitlines()[0]}")
                broken.append(variant)
        compared = [variant for variant in compared if variant not in broken]
        print(f"{case.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        if not compared:
            break
    rates = {variant.name: variant.rates for variant in compared}
    bases = {"p1": rates.get("P 1"), "cpu": rates.get(BASE_CPU), "zuko": rates.get(ZUKO)}
    return {
        variant.name: {
            "members": variant.members,
            "rate": spread(variant.rates),
            "rates": variant.rates,
            "peak": variant.peak,
            **{key: ratio(variant.rates, base) for key, base in bases.items()},
        }
        for variant in compared
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def ratio(rates: Sequence[float], base: Sequence[float] | None) -> dict[str, float] | None:
    return None if base is None else spread([a / b for a, b in zip(rates, base, strict=True)])


def table(results: dict[str, dict[str, dict[str, Any]]], device: str) -> str:
    """Markdown: a row for each variant of each case."""
    heads = (
        "case",
        f"on {device}, where nothing else is said",
        "member steps a second",
        "ms a step",
        "against P 1",
        f"against {BASE_CPU}",
        "against zuko",
        "peak memory, GiB",
    )

    def said(value: dict[str, float] | None, digits: int) -> str:
        if value is None:
            return ""
        middle, low, high = (f"{value[key]:,.{digits}f}" for key in ("median", "lowest", "highest"))
        return f"{middle} ({low} to {high})"

    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for case, found in results.items():
        for name, one in found.items():
            cells = (
                case,
                name,
                said(one["rate"], 0),
                f"{1e3 * one['members'] / one['rate']['median']:.1f}",
                said(one["p1"], 2),
                said(one["cpu"], 2),
                said(one["zuko"], 2),
                "" if one["peak"] is None else f"{one['peak'] / 2**30:.2f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machine(device: str) -> dict[str, str]:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    found = {
        "cpu": (models or [platform.processor()])[0],
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    if device != "cpu":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["cuda"] = str(torch.version.cuda)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small stacks at D 8: does it run?")
    parser.add_argument("--device", default="cuda", help='"cuda", "cuda:1" or "cpu"')
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one timed burst")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of all rounds")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    options = parser.parse_args()
    device = options.device
    if device != "cpu" and not torch.cuda.is_available():
        parser.error(f"`--device` {device!r}: torch sees no CUDA device here")
    torch.set_num_threads(1)
    quick = options.quick
    sizes = MEMBERS[:3] if quick else MEMBERS
    cases = [case for case in CASES if case.features == 8 or not quick]
    rounds, seconds = (2, 0.05) if quick else (options.rounds, options.seconds)
    zuko = importlib.util.find_spec("zuko") is not None
    notes: list[str] = [] if zuko else ["zuko is not installed"]
    results: dict[str, dict[str, dict[str, Any]]] = {}
    began = time.monotonic()
    for number, case in enumerate(cases, 1):
        until = began + options.limit * number / len(cases)
        results[case.name] = measure(case, sizes, device, rounds, seconds, until, notes, zuko)
        free(device)
        if options.out:  # what there is, should a later case fail
            found = {"machine": machine(device), "rounds": rounds, "seconds": seconds}
            text = json.dumps(found | {"results": results, "notes": notes}, indent=1)
            options.out.write_text(text + "\n")
    print(table(results, device))
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine(device).items()))
    print(f"\n{time.monotonic() - began:.0f} s in all")
    for note in notes:
        print(f"- {note}")


if __name__ == "__main__":
    main()
