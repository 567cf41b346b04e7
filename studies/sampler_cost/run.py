"""What an ask and a tell cost, in milliseconds of CPU, beside so many finished records."""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from nfopt.evolution.engine import Evolution, Record, Settings
from nfopt.evolution.genome.blocks import EdgeBlock, MaskBlock
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Category, Integer, Real

TWENTY = (
    *(Real(1e-5, 1e-1, log=True) for _ in range(5)),
    *(Real(0.0, 1.0) for _ in range(5)),
    *(Integer(1, 64) for _ in range(5)),
    *(Category(4) for _ in range(5)),
)
LAYOUTS = {
    "20 variables": Layout(TWENTY),
    "masks 4 x 16": Layout((), MaskBlock(4, 16)),
    "masks 8 x 64": Layout((), MaskBlock(8, 64)),
    "masks 8 x 64, pairs, 20 variables": Layout(TWENTY, MaskBlock(8, 64, pairs=True)),
    "adjacency of 24": Layout((), edges=EdgeBlock(24, 6, orders=True)),
}
PRESETS = {
    "default": Settings(),
    "no screening": Settings(screening=False),
    "classic": Settings.classic(),
}


def value(layout: Layout, genome: Genome, weights: np.ndarray) -> float:
    """Linear in what there is, so that the screening model predicts and is used."""
    parts = [
        x if isinstance(v, Category) else v.unit(x)
        for v, x in zip(layout.variables, genome.values, strict=True)
    ]
    if genome.masks is not None:
        parts.extend((genome.masks == "T").ravel())
    if genome.parents is not None:
        parts.extend(genome.parents.ravel())
    return float(np.array(parts, dtype=float) @ weights[: len(parts)])


def measure(layout: Layout, settings: Settings, finished: int, asks: int) -> tuple[float, float]:
    """CPU milliseconds of an ask with its tell, and of taking in `finished` records at first."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=5_000)
    evolution = Evolution(layout, settings=settings)
    genomes = [layout.random(rng) for _ in range(finished)]
    records = [
        Record(n, g, "complete", (value(layout, g, weights) + rng.normal(),))
        for n, g in enumerate(genomes)
    ]
    start = time.process_time()
    for record in records:
        evolution.tell(record)
    evolution.ask(rng)
    load = time.process_time() - start
    spent = 0.0
    for number in range(finished, finished + asks):
        start = time.process_time()
        proposal = evolution.ask(rng)
        spent += time.process_time() - start
        result = value(layout, proposal.genome, weights) + rng.normal()
        record = Record(
            number,
            proposal.genome,
            "complete",
            (result,),
            operator=proposal.operator,
            parents=proposal.parents,
        )
        start = time.process_time()
        evolution.tell(record)
        spent += time.process_time() - start
    return 1e3 * spent / asks, 1e3 * load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asks", type=int, default=60)
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS), choices=LAYOUTS)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=PRESETS)
    options = parser.parse_args()
    print("| layout | preset | finished | ask + tell, ms | all records at first, ms |")
    print("|---|---|---|---|---|")
    for name in options.layouts:
        for preset in options.presets:
            for finished in options.finished:
                each, load = measure(LAYOUTS[name], PRESETS[preset], finished, options.asks)
                row = f"| {name} | {preset} | {finished:,} | {each:.1f} | {load:.0f} |"
                print(row, flush=True)


if __name__ == "__main__":
    main()
