"""Named data sets: shipped with the package, from scikit-learn, or made with a seed.

Each brings what is known of it: the columns that are left out, and the dequantising step of the
columns that are tied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data.raw import RawTable
from nfopt.data.synthetic import moons, rings, sparse_graph
from nfopt.data.wording import nearest_text
from nfopt.errors import DataError

Array = NDArray[np.float64]

_MAGIC_COLUMNS = (
    "fLength fWidth fSize fConc fConc1 fAsym fM3Long fM3Trans fAlpha fDist".split()  # noqa: SIM905
)
# fSize, fConc and fConc1 are given with four decimals and mostly tied at them.
_MAGIC_STEPS = {"fSize": 1e-4, "fConc": 1e-4, "fConc1": 1e-4}
_WINE_STEPS = {"alcalinity_of_ash": 0.1, "magnesium": 1.0, "proline": 1.0}  # the others: 0.01
# In these, 13 of the 569 rows hold exactly 0: an atom.
_CANCER_DROPPED = (
    "mean concavity",
    "mean concave points",
    "concavity error",
    "concave points error",
    "worst concavity",
    "worst concave points",
)
# Pixels at the rim that are blank in more than 95% of the images.
_DIGITS_DROPPED = (0, 7, 8, 15, 16, 23, 24, 31, 32, 39, 40, 47, 48, 56)


@dataclass(frozen=True)
class NamedSet:
    """A named data set.

    Attributes:
        about: What it is, in a few words.
        make: Gives the table; takes `limits` as keyword arguments.
        limits: For each parameter that may stand in the name: default, least, greatest.
    """

    about: str
    make: Callable[..., RawTable]
    limits: Mapping[str, tuple[float, float, float]]


def _shipped(name: str) -> NDArray[Any]:
    path = resources.files("nfopt.data") / "shipped" / f"{name}.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        rows: NDArray[Any] = archive["rows"]
    return rows


def _table(name: str, columns: list[str], rows: Array, steps: Mapping[str, float]) -> RawTable:
    kept = {column: step for column, step in steps.items() if column in columns}
    return RawTable(name, tuple(columns), rows, steps=kept)


def _magic() -> RawTable:
    rows = _shipped("magic") / 1e4  # stored as integers: exact
    _, first = np.unique(rows, axis=0, return_index=True)
    return _table("magic", list(_MAGIC_COLUMNS), rows[np.sort(first)], _MAGIC_STEPS)


def _penbased() -> RawTable:
    rows = _shipped("penbased").astype(np.float64)
    columns = [f"{axis}{point}" for point in range(8) for axis in "xy"]
    return _table("penbased", columns, rows, dict.fromkeys(columns, 1.0))


def _sklearn(loader: str) -> Any:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            f"the data set {loader!r} needs scikit-learn: pip install 'nfopt[data]'"
        ) from error
    return getattr(datasets, f"load_{loader}")()


def _digits() -> RawTable:
    rows = _sklearn("digits").data
    kept = [pixel for pixel in range(64) if pixel not in _DIGITS_DROPPED]
    columns = [f"pixel_{pixel // 8}_{pixel % 8}" for pixel in kept]
    return _table("digits", columns, rows[:, kept], dict.fromkeys(columns, 1.0))


def _breast_cancer() -> RawTable:
    bunch = _sklearn("breast_cancer")
    names = [str(name) for name in bunch.feature_names]
    kept = [position for position, name in enumerate(names) if name not in _CANCER_DROPPED]
    return _table("breast_cancer", [names[i] for i in kept], bunch.data[:, kept], {})


def _wine() -> RawTable:
    bunch = _sklearn("wine")
    names = [str(name) for name in bunch.feature_names]
    return _table("wine", names, bunch.data, dict.fromkeys(names, 0.01) | _WINE_STEPS)


def _moons(n: int, seed: int, noise: float) -> RawTable:
    return _table("moons", ["x", "y"], moons(n, seed, noise), {})


def _rings(n: int, seed: int, noise: float) -> RawTable:
    return _table("rings", ["x", "y"], rings(n, seed, noise), {})


def _sparse_graph(n: int, seed: int, D: int) -> RawTable:
    columns = [f"x{position}" for position in range(D)]
    return _table("sparse_graph", columns, sparse_graph(D, seed).sample(n, seed), {})


_SEED = (0, 0, 2**31 - 1)
_ROWS = (10_000, 50, 10_000_000)
_NOISE = (0.08, 1e-6, 10.0)

NAMED: Mapping[str, NamedSet] = {
    "magic": NamedSet("gamma telescope, 18,905 x 10 (UCI, shipped)", _magic, {}),
    "penbased": NamedSet("pen strokes of digits, 10,992 x 16 (UCI, shipped)", _penbased, {}),
    "digits": NamedSet("8x8 digits, 1,797 x 50 (scikit-learn)", _digits, {}),
    "breast_cancer": NamedSet("cell nuclei, 569 x 24 (scikit-learn)", _breast_cancer, {}),
    "wine": NamedSet("wine analyses, 178 x 13 (scikit-learn)", _wine, {}),
    "moons": NamedSet("two half circles", _moons, {"n": _ROWS, "seed": _SEED, "noise": _NOISE}),
    "rings": NamedSet("three circles", _rings, {"n": _ROWS, "seed": _SEED, "noise": _NOISE}),
    "sparse_graph": NamedSet(
        "a sparse nonlinear graph with its true density",
        _sparse_graph,
        {"n": (20_000, 50, 10_000_000), "seed": (3, 0, 2**31 - 1), "D": (16, 1, 1024)},
    ),
}


def is_named(source: str) -> bool:
    """Tell whether a text names a data set, with or without parameters."""
    return source.split(":", 1)[0] in NAMED


def named_table(source: str) -> RawTable:
    """Give a named data set.

    Args:
        source: A name of `NAMED`, with parameters after a colon where it has any:
            "sparse_graph:D=16,seed=3,n=20000".

    Raises:
        DataError: If the name or a parameter is unknown or out of range, or scikit-learn missing.
    """
    name, colon, text = source.partition(":")
    if name not in NAMED:
        raise DataError(
            f"there is neither a file nor a data set named {name!r}; {nearest_text(name, NAMED)}"
        )
    limits = NAMED[name].limits
    if colon and not limits:
        raise DataError(f"the data set {name!r} takes no parameters: {source!r}")
    given: dict[str, float] = {key: default for key, (default, _, _) in limits.items()}
    for setting in text.split(",") if colon else []:
        key, _, value = (part.strip() for part in setting.partition("="))
        if key not in limits:
            raise DataError(
                f"the data set {name!r} has no parameter {key!r} ({source!r}): "
                f"it has {', '.join(limits)}"
            )
        default, least, greatest = limits[key]
        try:
            number = type(default)(value)
        except ValueError as error:
            wanted = "an integer" if isinstance(default, int) else "a number"
            raise DataError(f"{key!r} in {source!r} must be {wanted}, not {value!r}") from error
        if not least <= number <= greatest:
            raise DataError(f"{key!r} in {source!r} must be from {least:g} to {greatest:g}")
        given[key] = number
    made = NAMED[name].make(**given)
    return RawTable(source, made.columns, made.content, steps=made.steps)
