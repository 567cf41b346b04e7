"""How large a batch should the recipe take on a GPU? Each trained in full, two seeds a rate.

A step of one flow takes a GPU about as long for 256 rows as for 1,024, so larger batches are the
obvious way to be done sooner. Do they come to as good a flow, at any learning rate?

    python studies/gpu/batches.py                       # magic and penbased; minutes on one GPU
    python studies/gpu/batches.py --data DIR --sets htru2,satimage
    python studies/gpu/batches.py --quick --device cpu  # does it run?
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import msgspec
import torch

from nfopt.recipes import BATCH, EPOCHS, FEWEST_STEPS, LEARNING_RATE, recipe
from nfopt.study.dataset import read
from nfopt.study.stacks import train_stack
from nfopt.training import TrainData, mean_nll

SEEDS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of NPZ files; without: the named sets")
    parser.add_argument("--sets", default="magic,penbased")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    print("| data | batch | steps | learning rate | validation NLL | test NLL | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name in asked.sets.split(","):
        where = name if asked.data is None else asked.data / f"{name}.npz"
        data = read(where, seed=0, on_warning=lambda text: None).data
        rows = TrainData.of(data, asked.device)
        best = recipe(data.features, len(data.parts[0]))
        flow, train = best.flow, best.train
        for factor in (1, 2, 4):
            batch = factor * BATCH
            steps = 4 if asked.quick else max(EPOCHS * len(data.parts[0]) // batch, FEWEST_STEPS)
            rates = [LEARNING_RATE * k for k in (1, 2, 4, 8)[: factor + 1 if factor > 1 else 1]]
            pairs = [(rate, seed) for rate in rates for seed in range(SEEDS)]
            began = time.monotonic()
            stack, results = train_stack(
                [flow] * len(pairs),
                [
                    msgspec.structs.replace(
                        train, batch_size=batch, steps=steps, learning_rate=rate
                    )
                    for rate, _ in pairs
                ],
                [seed for _, seed in pairs],
                rows,
                batches=7,
                steps=steps,
                seconds=None,
            )
            part = data.parts[2]
            x, logdet = (torch.from_numpy(a).to(asked.device) for a in (part.z, part.logdet))
            test = mean_nll(stack, x, logdet=logdet)[0].tolist()
            seconds = time.monotonic() - began
            for k, rate in enumerate(rates):
                mine = range(k * SEEDS, (k + 1) * SEEDS)
                val, held = (
                    ", ".join(f"{value:.3f}" for value in values)
                    for values in ([results[i].nll for i in mine], [test[i] for i in mine])
                )
                cells = (name, batch, f"{steps:,}", f"{rate:g}", val, held, f"{seconds:.0f}")
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
