"""What training reads: float32 parts under a choice of marginal maps, and a fingerprint."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt.data.maps.lines import LinePart, Lines, Part
from nfopt.data.maps.marginals import DEFAULT
from nfopt.data.maps.precision import merge_text
from nfopt.data.maps.preprocess import NOTHING, ColumnMap, Preprocessing
from nfopt.data.maps.support import dequantised, row_noise
from nfopt.data.rows import Origin
from nfopt.data.split import Rows, Split
from nfopt.data.table import Table
from nfopt.errors import DataError, DataWarning

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

PartName = Literal["train", "val", "test"]
_PARTS: tuple[PartName, ...] = get_args(PartName)

_CHUNK = 65_536  # rows at a time, so that float64 copies stay small


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table that was split and preprocessed; n rows a part, D features, C context columns.

    Attributes:
        name: The table's name.
        columns: D names.
        context_columns: C names.
        lines: The rows before their marginal maps, and the maps that were fitted so far.
        fingerprint: SHA-256 (hex) over content, split and hints, whatever the marginal maps. It is
            that of the whole table also after `subsample`.
        warnings: What was warned of when the table was loaded.
        marginals: The maps that `preprocessing` and `parts` have; `under` gives others.
        origin: What the columns of the table's source were, where it is known.
        picked: Training and validation rows that are kept (positions in their part); None: all.
    """

    name: str
    columns: tuple[str, ...]
    context_columns: tuple[str, ...]
    lines: Lines
    fingerprint: str
    warnings: tuple[str, ...] = ()
    origin: Origin | None = None
    marginals: str = "standardise"
    picked: tuple[Rows | None, Rows | None] = (None, None)

    def under(self, marginals: str) -> Prepared:
        """Give the same rows under other marginal maps, fitted on all training rows, once."""
        return self if marginals == self.marginals else replace(self, marginals=marginals)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """Fitted on the training rows; belongs to every flow trained on them."""
        return self.lines.fitted(self.marginals)

    @cached_property
    def parts(self) -> tuple[Part, Part, Part]:
        """The training part; the validation part, to choose on; the test part, to score once.

        `train`, `val` and `test` are short for their arrays.
        """
        first, second, third = self.lines.mapped(self.marginals)
        train, val = self.picked
        first = first if train is None else first.take(train)
        second = second if val is None else second.take(val)
        return first, second, third

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows of the three parts."""
        first, second, third = (len(part) for part in self.lines.parts)
        train, val = self.picked
        return (
            first if train is None else len(train),
            second if val is None else len(val),
            third,
        )

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
        """The three parts' mapped context, each float32 of shape (n, C), or None."""
        train, val, test = (part.context for part in self.parts)
        return None if train is None or val is None or test is None else (train, val, test)

    @property
    def weights(self) -> tuple[Array32, Array32, Array32] | None:
        """The three parts' weights, each float32 of shape (n,), or None."""
        train, val, test = (part.weights for part in self.parts)
        return None if train is None or val is None or test is None else (train, val, test)

    def for_rows(self, train: Rows | None = None, val: Rows | None = None) -> Prepared:
        """Keep only some training and validation rows (positions in their part); the test stays."""
        pairs = zip(self.picked, (train, val), strict=True)
        first, second = (
            before if rows is None else rows if before is None else before[rows]
            for before, rows in pairs
        )
        return replace(self, picked=(first, second))

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
        first, second, _ = self.sizes
        return self.for_rows(
            train=_choice(first, rows, np.random.default_rng([seed, 0])),
            val=_choice(second, val_rows, np.random.default_rng([seed, 1])),
        )


def folds(data: Prepared, count: int, seed: int) -> list[Prepared]:
    """Divide training and validation rows anew, `count` times; the test rows stay.

    Args:
        data: Split at random, without weights of rows.
        count: Folds, at least 2: each row but the last few validates in exactly one.
        seed: Of who validates where.
    """
    rng = np.random.default_rng([seed, 2])
    return [
        replace(data, lines=lines, picked=(None, None)) for lines in data.lines.folds(count, rng)
    ]


def _choice(available: int, wanted: int | None, rng: np.random.Generator) -> Rows | None:
    if wanted is None or wanted >= available:
        return None
    return np.sort(rng.choice(available, size=wanted, replace=False, shuffle=False))


def prepare(
    table: Table,
    split: Split,
    seed: int = 0,
    *,
    on_warning: Callable[[str], None] | None = None,
) -> Prepared:
    """Dequantise, take bounded columns to the line, and divide the rows.

    Args:
        table: What `load` gave.
        split: What `split` gave.
        seed: Of the dequantising noise.
        on_warning: Called with each warning, instead of `warnings.warn(..., DataWarning)`.

    Returns:
        The table, standardised; `Prepared.under` gives it under other marginal maps.

    Raises:
        DataError: If a column is constant in the training rows, or a part has only weights of 0.
    """
    parts = (split.train, split.val, split.test)
    if table.weights is not None:
        for name, rows in zip(_PARTS, parts, strict=True):
            if len(rows) and not table.weights[rows].any():
                raise DataError(f"`weights` are all 0 in the {name} rows: split in another way")
    unit = 1.0 if table.weights is None else float(table.weights[split.train].mean())
    blank = _blank(table, seed)
    train, val, test = (
        _line_part(table, blank, rows, part, seed, unit) for part, rows in enumerate(parts)
    )
    lines = Lines(blank, (train, val, test))
    lines.check()
    merging = merge_text(lines, DEFAULT)
    for text in merging:
        if on_warning is not None:
            on_warning(text)
        else:
            warnings.warn(text, DataWarning, stacklevel=2)
    return Prepared(
        name=table.name,
        columns=table.columns,
        context_columns=table.context_columns,
        lines=lines,
        fingerprint=fingerprint(table, split, seed),
        warnings=(*table.warnings, *merging),
        origin=table.origin,
    )


def dequantised_values(table: Table, rows: Rows, part: int, seed: int = 0) -> Array:
    """Give some rows of a table with tied values spread within their step, shape (n, D).

    The noise depends on the seed, the part and the content of the rows; see `row_noise`.

    Args:
        table: What `load` gave.
        rows: Which.
        part: Of the split that they are: 0, 1, 2.
        seed: Of the noise.
    """
    values = table.values[rows]
    tied = [column for column, hint in enumerate(table.hints) if hint.step is not None]
    if tied:
        whole = values if table.context is None else np.column_stack([values, table.context[rows]])
        for column, noise in row_noise(whole, tied, seed, part).items():
            values[:, column] = dequantised(values[:, column], table.hints[column], noise)
    return values


def _blank(table: Table, seed: int) -> Preprocessing:
    """Write down all but the marginal maps."""
    return Preprocessing(
        columns=tuple(
            ColumnMap(
                name,
                NOTHING,
                hint,
                None if hint.step is None else (float(values.min()), float(values.max())),
            )
            for name, hint, values in zip(table.columns, table.hints, table.values.T, strict=True)
        ),
        context=tuple(ColumnMap(name, NOTHING) for name in table.context_columns),
        seed=seed,
    )


def _line_part(
    table: Table, blank: Preprocessing, rows: Rows, part: int, seed: int, unit: float
) -> LinePart:
    line, logdet = dequantised_values(table, rows, part, seed), np.empty(len(rows))
    for start in range(0, len(rows), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        line[chunk], logdet[chunk] = blank.to_line(line[chunk])
    return LinePart(
        line=line,
        logdet=logdet,
        context=None if table.context is None else table.context[rows],
        weights=None if table.weights is None else (table.weights[rows] / unit).astype(np.float32),
    )


def fingerprint(table: Table, split: Split, seed: int = 0) -> str:
    """Compute the SHA-256 (hex) of a table's content, its split and its hints.

    It covers names, values, context, weights, the rows of each part, bounds, steps and the seed
    of the noise; not the marginal maps, which are a candidate's own, nor the table's name.
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
