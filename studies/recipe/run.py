"""What does each part of the recipe bring? One change at a time, each trained alone.

Every variant gets the same seconds of one thread, several seeds as the minutes allow. Each run is
written to results.jsonl when it ends; a second call goes on where the first stopped.

    python studies/recipe/run.py --data DIR --sets magic satimage   # DIR/*.npz with train, val,
    test python studies/recipe/run.py                                    # without: named sets
    python studies/recipe/run.py --quick                            # five seconds a variant
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch

from nfopt.data import load, prepare, split
from nfopt.flows import build
from nfopt.recipes import autoregressive, couplings, recipe
from nfopt.spec import LU, Autoregressive, FlowSpec, TrainSpec
from nfopt.training import TrainData, mean_nll, train

HERE = Path(__file__).parent
NAMED = ("magic", "penbased")
Recipe = tuple[FlowSpec, TrainSpec]


def without_lu(flow: FlowSpec, trained: TrainSpec) -> Recipe:
    """Alternating orders alone."""
    layers = tuple(layer for layer in flow.layers if not isinstance(layer, LU))
    return msgspec.structs.replace(flow, layers=layers), trained


def with_net(**changes: object) -> Callable[[FlowSpec, TrainSpec], Recipe]:
    """Another conditioner."""

    def change(flow: FlowSpec, trained: TrainSpec) -> Recipe:
        layers = tuple(
            msgspec.structs.replace(
                layer, conditioner=msgspec.structs.replace(layer.conditioner, **changes)
            )
            if isinstance(layer, Autoregressive)
            else layer
            for layer in flow.layers
        )
        return msgspec.structs.replace(flow, layers=layers), trained

    return change


def with_training(**changes: object) -> Callable[[FlowSpec, TrainSpec], Recipe]:
    """Another training."""
    return lambda flow, trained: (flow, msgspec.structs.replace(trained, **changes))


VARIANTS: dict[str, Callable[[FlowSpec, TrainSpec], Recipe]] = {
    "recipe": lambda flow, trained: (flow, trained),
    "without LU": without_lu,
    "relu": with_net(activation="relu"),
    "residual": with_net(residual=True),
    "width 64": with_net(width=64),
    "width 256": with_net(width=256),
    "depth 4": lambda flow, trained: (autoregressive(flow.features, depth=4), trained),
    "depth 8": lambda flow, trained: (autoregressive(flow.features, depth=8), trained),
    "16 bins": lambda flow, trained: (autoregressive(flow.features, bins=16), trained),
    "8 couplings": lambda flow, trained: (couplings(flow.features), trained),
    "batch 512": with_training(batch_size=512),
    "learning rate 1e-3": with_training(learning_rate=1e-3),
    "learning rate 4e-3": with_training(learning_rate=4e-3),
    "no dropout": with_training(dropout=0.0),
    "dropout 0.1": with_training(dropout=0.1),
    "dropout 0.3": with_training(dropout=0.3),
}


def run(source: str, name: str, seconds: float, seed: int) -> dict[str, object]:
    """Train one variant on one table."""
    table = load(source)
    rows = prepare(table, split(table), seed=0)
    flow, trained = VARIANTS[name](*recipe(rows.features, len(rows.train)))
    generator = torch.Generator().manual_seed(seed)
    (stack,) = build([flow], generator)
    data = TrainData.of(rows, "cpu")
    (result,) = train(stack, trained, data, generator=generator, seconds=seconds)
    test = rows.part("test")
    nlls, errors = mean_nll(stack, torch.from_numpy(test.z), logdet=torch.from_numpy(test.logdet))
    return {
        "data": Path(source).stem,
        "variant": name,
        "seconds": seconds,
        "seed": seed,
        "validation": -result.nll,
        "test": -float(nlls[0]),
        "test_2se": float(errors[0]),
        "steps": result.steps,
        "parameters": flow.parameter_count(),
    }


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description="One change to the recipe at a time.")
    parser.add_argument("--data", type=Path, help="folder with NPZ files")
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seconds = 5.0 if given.quick else given.seconds
    names = given.sets or (
        [path.stem for path in sorted(given.data.glob("*.npz"))] if given.data else NAMED
    )
    seen: dict[tuple[str, str, float, int], dict[str, object]] = {}
    if given.results.exists():
        for line in given.results.read_text().splitlines():
            row = json.loads(line)
            seen[row["data"], row["variant"], row["seconds"], row["seed"]] = row
    asked = [(d, v, s) for s in range(given.seeds) for d in names for v in given.variants]
    left = [key for key in asked if (key[0], key[1], seconds, key[2]) not in seen]
    print(f"{len(left)} runs to do, about {len(left) * seconds / 3600:.1f} hours", flush=True)
    for name, variant, seed in left:
        source = str(given.data / f"{name}.npz") if given.data else name
        row = run(source, variant, seconds, seed)
        seen[name, variant, seconds, seed] = row
        with given.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
    print(f"\nTest log-likelihood in nats a row, {seconds:g} seconds each\n")
    print("| variant | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    for variant in given.variants:
        cells = []
        for name in names:
            rows = [seen.get((name, variant, seconds, s)) for s in range(given.seeds)]
            cells.append(", ".join(f"{row['test']:.3f}" for row in rows if row))
        print(f"| {variant} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
