"""`nfopt fit` beside a well-trained zuko flow, the same minutes of one thread each.

The rival is what a careful user of zuko would write: NSF (autoregressive splines, 4 x 2x128, 8
bins), batches of 512, AdamW at 2e-3 under a cosine over the time given, clip 5, best weights by
validation NLL. Both see the rows that nfopt has prepared, and both are scored on the data's own
scale.

    python studies/fit_vs_zuko/run.py --data DIR --sets magic htru2 --minutes 3 python
    studies/fit_vs_zuko/run.py                    # without: the named sets magic and penbased
    python studies/fit_vs_zuko/run.py --quick            # ten seconds each
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
import zuko

import nfopt
from nfopt.data import Prepared, load, prepare, split

HERE = Path(__file__).parent
NAMED = ("magic", "penbased")
BATCH, RATE, CLIP, CHECKS = 512, 2e-3, 5.0, 40


def train_zuko(rows: Prepared, seconds: float, seed: int) -> tuple[float, int]:
    """Train zuko's flow for some seconds; return its test log-likelihood and its steps."""
    began = time.monotonic()
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():  # zuko draws its weights from the global generator
        torch.random.default_generator.set_state(generator.get_state())
        flow = zuko.flows.NSF(rows.features, bins=8, transforms=4, hidden_features=(128, 128))
    optimiser = torch.optim.AdamW(flow.parameters(), lr=RATE)
    x, val, test = (torch.from_numpy(part) for part in (rows.train, rows.val, rows.test))
    best, kept, steps, checked = math.inf, flow.state_dict(), 0, 0
    order, place = torch.randperm(len(x), generator=generator), 0
    while (share := (time.monotonic() - began) / seconds) < 1:
        if place + BATCH > len(x):
            order, place = torch.randperm(len(x), generator=generator), 0
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * share))
        loss = -flow().log_prob(x[order[place : place + BATCH]]).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), CLIP)
        optimiser.step()
        steps, place = steps + 1, place + BATCH
        if share * CHECKS >= checked + 1:
            checked += 1
            with torch.no_grad():
                nll = -float(flow().log_prob(val).mean())
            if nll < best:
                best = nll
                kept = {name: value.clone() for name, value in flow.state_dict().items()}
    flow.load_state_dict(kept)
    with torch.no_grad():
        scores = flow().log_prob(test).double() + torch.from_numpy(rows.part("test").logdet)
    return float(scores.mean()), steps


def main() -> None:
    """Run both on each table and print the comparison."""
    parser = argparse.ArgumentParser(description="nfopt fit beside a well-trained zuko flow.")
    parser.add_argument("--data", type=Path, help="folder with NPZ files")
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    given = parser.parse_args()
    torch.set_num_threads(1)
    minutes = 1 / 6 if given.quick else given.minutes
    found = [path.stem for path in sorted(given.data.glob("*.npz"))] if given.data else NAMED
    print("| data | zuko NSF | nfopt fit |\n|---|---|---|", flush=True)
    for name in given.sets or found:
        source = str(given.data / f"{name}.npz") if given.data else name
        table = load(source)
        rows = prepare(table, split(table, seed=given.seed), seed=given.seed)
        theirs, steps = train_zuko(rows, 60 * minutes, given.seed)
        ours = nfopt.fit(source, minutes=minutes, seed=given.seed, out=None, threads=1)
        row = {"data": name, "minutes": minutes, "seed": given.seed, "zuko": theirs}
        row |= {"zuko_steps": steps, "fit": -ours.test_nll, "fit_2se": ours.test_nll_2se}
        with given.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"| {name} | {theirs:.3f} | {-ours.test_nll:.3f} |", flush=True)


if __name__ == "__main__":
    main()
