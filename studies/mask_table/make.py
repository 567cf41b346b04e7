"""Make the tables: propose masks, train each several times, keep the learning curves.

    python studies/mask_table/make.py --data DIR           # DIR/htru2.npz and DIR/higgs35k.npz
    python studies/mask_table/make.py --data DIR --sets gasturbine
    python studies/mask_table/make.py                      # without: the named sets
    python studies/mask_table/make.py --quick              # two minutes, into quick/

Affine couplings without linear mixing, trained cold. 16 masks are proposed at a time and trained
as one stack, whose members are the same as alone, once a seed. The table is written after each
stack: Ctrl-C loses some seconds, and a second call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from nfopt.data import load, prepare, split
from nfopt.dependence import mutual_information
from nfopt.flows import build
from nfopt.masks import from_transformed, letters
from nfopt.spec import Conditioner, Coupling, FlowSpec, TrainSpec
from nfopt.training import Rung, TrainData, mean_nll, train

HERE = Path(__file__).resolve().parent
BENCHMARK = HERE.parents[1] / "optunahub" / "package" / "benchmarks" / "nfopt_mask_table"
sys.path.insert(0, str(BENCHMARK))

from collect import COLLECTORS, RANDOM, Told, distinct  # noqa: E402
from landscape import FIDELITIES, Table  # noqa: E402

NAMED = ("magic", "penbased")
ROUNDS = (
    *RANDOM * 2,
    *("hill", "evolution", "umda", "tpe", "nsga2") * 3,
)
"""Who proposes the masks of each round; those of a later round are told of the earlier ones."""


@dataclass(frozen=True)
class Scale:
    """How much is trained; part of the table, so that it goes on as it began."""

    layers: int = 4
    width: int = 32
    hidden_layers: int = 2
    steps: int = 600
    batch_size: int = 128
    learning_rate: float = 2e-3
    seeds: int = 3
    stack: int = 16


QUICK = Scale(width=16, steps=60, seeds=2, stack=4)


class Work:
    """One data set's table, as far as it is."""

    def __init__(self, source: str, path: Path, scale: Scale, device: str) -> None:
        given = load(source)
        rows = prepare(given, split(given), seed=0)
        self.name, self.path, self.scale = Path(source).stem, path, scale
        self.data = TrainData.of(rows, device)
        self.shape = (scale.layers, rows.features)
        self.strength = mutual_information(rows.part("train").z)
        about = {"data": self.name, "fidelities": list(FIDELITIES), **asdict(scale)}
        about |= {"rows": [len(self.data.x), len(self.data.val)]}
        self.table = Table.empty(*self.shape, scale.seeds, about)
        if path.exists():
            self.table = Table.load(path)
            if self.table.about != about:
                sys.exit(f"{path} was made otherwise: {self.table.about}, not {about}.")

    def left(self) -> int:
        """Stacks to train."""
        done = ~np.isnan(self.table.curves[:, :, -1])
        return len(ROUNDS) * self.scale.seeds - int(done.sum()) // self.scale.stack

    def propose(self) -> None:
        """Add the next round's masks."""
        number, table = len(self.table) // self.scale.stack, self.table
        name = ROUNDS[number]
        known = np.isin(table.sampler, [name, *RANDOM])
        order = np.flatnonzero(known)[np.argsort(table.truth[known], kind="stable")]
        told = Told(table.transformed[order], table.truth[order], self.strength)
        rng = np.random.default_rng([1, number])
        drawn = COLLECTORS[name](told, self.scale.stack, self.shape, rng)
        seen = {mask.tobytes() for mask in table.transformed}
        table.propose(distinct(drawn, seen, rng), name)

    def step(self) -> str:
        """Train one stack, write the table, and say in a line how it went."""
        if not np.isnan(self.table.curves).any():
            self.propose()
        waiting = np.isnan(self.table.curves[:, :, -1])
        start = int(waiting.any(axis=1).argmax())
        seed = int(waiting[start].argmax())
        members = slice(start, start + self.scale.stack)
        began = time.process_time()
        curves = self.train(self.table.transformed[members], (start, seed), self.scale.steps)
        self.table.curves[members, seed] = curves
        self.table.save(self.path)
        return (
            f"{self.name} {self.table.sampler[start]} {start}+{len(curves)} seed {seed}: "
            f"{curves[:, -1].min():.2f} to {curves[:, -1].max():.2f} nats, "
            f"{time.process_time() - began:.0f} s of CPU, {self.left()} stacks left"
        )

    def train(self, transformed: np.ndarray, seeds: tuple[int, int], steps: int) -> np.ndarray:
        """Train masks as one stack; the NLL on all validation rows, shape (P, fidelities)."""
        scale, (start, seed) = self.scale, seeds
        net = Conditioner(width=scale.width, hidden_layers=scale.hidden_layers)
        specs = []
        for mask in transformed:
            rows = letters(from_transformed(mask))
            layers = tuple(Coupling(mask=row, conditioner=net) for row in rows)
            specs.append(FlowSpec(features=self.shape[1], layers=layers))
        plan = TrainSpec(
            steps=steps, batch_size=scale.batch_size, learning_rate=scale.learning_rate
        )
        streams = np.random.SeedSequence([2, start, seed]).generate_state(len(specs) + 1).tolist()
        weights = [torch.Generator().manual_seed(stream) for stream in streams[1:]]
        (stack,) = build(specs, weights, device=self.data.x.device)
        curves = np.full((len(specs), len(FIDELITIES)), np.inf, dtype=np.float32)

        def on_rung(rung: Rung) -> tuple[int, ...]:
            nlls = np.array(rung.nlls)
            if len(nlls) == len(specs):  # the training's own checks may look at some rows only
                whole = mean_nll(stack, self.data.val, logdet=self.data.val_logdet)[0]
                nlls = whole.cpu().numpy()
            point = FIDELITIES.index(rung.fraction)
            curves[list(rung.members), point] = np.where(np.isfinite(nlls), nlls, np.inf)
            return ()

        train(
            stack,
            plan,
            self.data,
            generator=torch.Generator().manual_seed(streams[0]),
            steps=steps,
            rungs=FIDELITIES,
            on_rung=on_rung,
        )
        return curves

    def hours(self) -> float:
        """Predict the hours of CPU that are left, from a few steps."""
        rng = np.random.default_rng(0)
        told = Told(self.table.transformed[:0], np.zeros(0), self.strength)
        masks = COLLECTORS["designed"](told, self.scale.stack, self.shape, rng)
        self.train(masks, (0, 0), 3)  # what only the first call takes
        began = time.process_time()
        self.train(masks, (0, 0), 20)
        return self.left() * (time.process_time() - began) / 20 * self.scale.steps / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the mask tables.")
    parser.add_argument("--data", type=Path, help="folder with NPZ files of train, val, test")
    parser.add_argument("--sets", nargs="*", help="by default htru2 and higgs35k")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small flows, few steps, into quick/")
    given = parser.parse_args()
    torch.set_num_threads(1)
    out = given.out or (HERE / "quick" if given.quick else BENCHMARK / "tables")
    names = given.sets or (("htru2", "higgs35k") if given.data else NAMED)
    scale = QUICK if given.quick else Scale()
    works = []
    for name in names:
        source = str(given.data / f"{name}.npz") if given.data else name
        works.append(Work(source, out / f"{name}.npz", scale, given.device))
    hours = [work.hours() if work.left() else 0.0 for work in works]
    for work, predicted in zip(works, hours, strict=True):
        print(f"{work.name}: {work.left()} stacks, about {predicted:.2f} hours of CPU", flush=True)
    try:
        while any(work.left() for work in works):
            # all sets go forward together, so that a table of each is there early
            work = max(works, key=lambda work: work.left())
            print(work.step(), flush=True)
    except KeyboardInterrupt:
        print("Stopped; what is done is written, and the same command goes on.", file=sys.stderr)
        sys.exit(130)
    for work in works:
        table = work.table.complete
        best = math.inf if not len(table) else table.truth.min()
        print(f"{work.name}: {len(table)} masks, noise {table.noise:.3f} nats, best {best:.2f}")


if __name__ == "__main__":
    main()
