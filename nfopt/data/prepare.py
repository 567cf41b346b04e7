"""What training reads: standardised float32 parts, their log-determinants, and a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt.data.preprocess import Preprocessing, dequantised
from nfopt.data.rows import Origin
from nfopt.data.split import Rows, Split
from nfopt.data.table import Table
from nfopt.errors import DataError

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

PartName = Literal["train", "val", "test"]
_PARTS: tuple[PartName, ...] = get_args(PartName)

_CHUNK = 65_536  # rows at a time, so that float64 copies stay small


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the split, ready for a flow.

    Attributes:
        z: float32, shape (n, D): what the flow sees.
        logdet: float64, shape (n,), nats: log |det dz/dx|. A row's score on the data's own scale
            is the flow's log_prob(z) + logdet.
        context: float32, shape (n, C), standardised, or None.
        weights: float32, shape (n,), or None; their mean over the training rows is 1.
    """

    z: Array32
    logdet: Array
    context: Array32 | None = None
    weights: Array32 | None = None

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: Rows) -> Part:
        """Give the part that holds some of the rows."""
        return Part(
            z=self.z[rows],
            logdet=self.logdet[rows],
            context=None if self.context is None else self.context[rows],
            weights=None if self.weights is None else self.weights[rows],
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table that was split and preprocessed; n rows a part, D features, C context columns.

    Attributes:
        name: The table's name.
        columns: D names.
        context_columns: C names.
        preprocessing: Fitted on the training rows; belongs to every flow trained on them.
        parts: The training part; the validation part, on which models are chosen; the test part,
            to be scored once. `train`, `val` and `test` are short for their arrays.
        fingerprint: SHA-256 (hex) over content, split and preprocessing. It is that of the
            whole table also after `subsample`.
        warnings: What was warned of when the table was loaded.
        origin: What the columns of the table's source were, where it is known.
    """

    name: str
    columns: tuple[str, ...]
    context_columns: tuple[str, ...]
    preprocessing: Preprocessing
    parts: tuple[Part, Part, Part]
    fingerprint: str
    warnings: tuple[str, ...] = ()
    origin: Origin | None = None

    def part(self, name: PartName) -> Part:
        """Give one part by its name: "train", "val" or "test"."""
        if name not in _PARTS:
            raise ValueError(f"`name` must be one of {', '.join(_PARTS)}, not {name!r}")
        return self.parts[_PARTS.index(name)]

    @property
    def features(self) -> int:
        """D."""
        return len(self.columns)

    @property
    def context_features(self) -> int:
        """C."""
        return len(self.context_columns)

    @property
    def train(self) -> Array32:
        """What a flow sees of the training rows: float32, shape (n, D)."""
        return self.parts[0].z

    @property
    def val(self) -> Array32:
        """What a flow sees of the validation rows: float32, shape (n, D)."""
        return self.parts[1].z

    @property
    def test(self) -> Array32:
        """What a flow sees of the test rows: float32, shape (n, D)."""
        return self.parts[2].z

    @property
    def context(self) -> tuple[Array32, Array32, Array32] | None:
        """The three parts' standardised context, each float32 of shape (n, C), or None."""
        train, val, test = (part.context for part in self.parts)
        return None if train is None or val is None or test is None else (train, val, test)

    @property
    def weights(self) -> tuple[Array32, Array32, Array32] | None:
        """The three parts' weights, each float32 of shape (n,), or None."""
        train, val, test = (part.weights for part in self.parts)
        return None if train is None or val is None or test is None else (train, val, test)

    def for_rows(self, train: Rows | None = None, val: Rows | None = None) -> Prepared:
        """Keep only some training and validation rows (positions in their part); the test stays."""
        first, second, third = self.parts
        first = first if train is None else first.take(train)
        second = second if val is None else second.take(val)
        return replace(self, parts=(first, second, third))

    def subsample(self, rows: int, seed: int = 0, *, val_rows: int | None = None) -> Prepared:
        """Keep a random choice of training rows, to search on; preprocessing stays the same.

        Args:
            rows: The most training rows to keep.
            seed: Of the choice.
            val_rows: The most validation rows to keep; None for all.
        """
        for argument, count in (("rows", rows), ("val_rows", val_rows)):
            if count is not None and count < 1:
                raise ValueError(f"`{argument}` must be at least 1, not {count}")
        first, second, _ = self.parts
        return self.for_rows(
            train=_choice(len(first), rows, np.random.default_rng([seed, 0])),
            val=_choice(len(second), val_rows, np.random.default_rng([seed, 1])),
        )


def _choice(available: int, wanted: int | None, rng: np.random.Generator) -> Rows | None:
    if wanted is None or wanted >= available:
        return None
    return np.sort(rng.choice(available, size=wanted, replace=False, shuffle=False))


def prepare(table: Table, split: Split, seed: int = 0) -> Prepared:
    """Dequantise, fit the preprocessing on the training rows, and apply it to all three parts.

    Args:
        table: What `load` gave.
        split: What `split` gave.
        seed: Of the dequantising noise.

    Raises:
        DataError: If a column is constant in the training rows, or a part has only weights of 0.
    """
    if table.weights is not None:
        for name, rows in zip(_PARTS, (split.train, split.val, split.test), strict=True):
            if not table.weights[rows].any():
                raise DataError(f"`weights` are all 0 in the {name} rows: split in another way")
    values = dequantised_values(table, seed)
    preprocessing = Preprocessing.fit(
        values,
        table.columns,
        table.hints,
        context=table.context,
        context_columns=table.context_columns,
        rows=split.train,
        weights=table.weights,
    )
    unit = 1.0 if table.weights is None else float(table.weights[split.train].mean())
    train, val, test = (
        _part(table, values, preprocessing, rows, unit)
        for rows in (split.train, split.val, split.test)
    )
    return Prepared(
        name=table.name,
        columns=table.columns,
        context_columns=table.context_columns,
        preprocessing=preprocessing,
        parts=(train, val, test),
        fingerprint=fingerprint(table, split, seed),
        warnings=table.warnings,
        origin=table.origin,
    )


def dequantised_values(table: Table, seed: int = 0) -> Array:
    """Give a table's values with tied ones spread within their step, shape (n, D).

    The table's own array is returned where no column is tied. A column's noise depends on the
    seed and its position only.
    """
    tied = [position for position, hint in enumerate(table.hints) if hint.step is not None]
    if not tied:
        return table.values
    values = table.values.copy()
    for position in tied:
        rng = np.random.default_rng([seed, position])
        values[:, position] = dequantised(values[:, position], table.hints[position], rng)
    return values


def _part(
    table: Table, values: Array, preprocessing: Preprocessing, rows: Rows, unit: float
) -> Part:
    z = np.empty((len(rows), table.features), dtype=np.float32)
    logdet = np.empty(len(rows))
    for start in range(0, len(rows), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        z[chunk], logdet[chunk] = preprocessing.forward(values[rows[chunk]])
    context = weights = None
    if table.context is not None:
        context = preprocessing.forward_context(table.context[rows]).astype(np.float32)
    if table.weights is not None:
        weights = (table.weights[rows] / unit).astype(np.float32)
    return Part(z=z, logdet=logdet, context=context, weights=weights)


def fingerprint(table: Table, split: Split, seed: int = 0) -> str:
    """Compute the SHA-256 (hex) of a table's content, its split and its preprocessing.

    It covers names, values, context, weights, the rows of each part, bounds, steps and the seed
    of the noise; not the fitted means, which follow from these and whose last bit may differ
    between machines, nor the table's name.
    """
    digest = hashlib.sha256()
    settings = {
        "version": 1,
        "columns": table.columns,
        "context_columns": table.context_columns,
        "hints": table.hints,
        "seed": seed if any(hint.step is not None for hint in table.hints) else 0,
        "shape": table.values.shape,
        "parts": [len(split.train), len(split.val), len(split.test)],
        "weights": table.weights is not None,
    }
    digest.update(msgspec.json.encode(settings))
    for numbers in (table.values, table.context, table.weights):
        if numbers is None:
            continue
        for start in range(0, len(numbers), _CHUNK):
            # + 0.0 turns -0.0, which equals 0.0, into 0.0
            block = np.ascontiguousarray(numbers[start : start + _CHUNK] + 0.0, dtype="<f8")
            digest.update(block.data)
    for rows in (split.train, split.val, split.test):
        digest.update(np.ascontiguousarray(rows, dtype="<i8").data)
    return digest.hexdigest()
