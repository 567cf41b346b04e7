"""From data to what a flow sees and back: bounds by logit or log, then a marginal map a column.

Everything is invertible, float64, plain data (JSON both ways), and its log-determinant is
counted, so that scores are on the data's own scale: log p(x) = log q(z) + log |dz/dx|.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt.data.maps.marginals import Marginal, Standardise, fit_map, names_of
from nfopt.data.maps.support import ColumnHint, bent, dequantised, on_grid, row_noise, unbent
from nfopt.errors import DataError

__all__ = ["ColumnHint", "ColumnMap", "Preprocessing"]

Array = NDArray[np.float64]
NOTHING = Standardise(0.0, 1.0)
TEST = 2  # the part of the split whose noise is drawn again


class ColumnMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fitted map of a column: its bounds, then its marginal map.

    Attributes:
        name: The column's.
        map: From the line to the flow.
        hint: From the data to the line.
        ends: Least and greatest value of a tied column; with the step of `hint` its grid.
    """

    name: str
    map: Marginal
    hint: ColumnHint = ColumnHint()
    ends: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        try:
            self.map.check()
        except ValueError as error:
            raise ValueError(
                f"the map of column {self.name!r:.60} can't be used: {error}"
            ) from None
        if self.ends is None:
            return
        first, last = self.ends
        if self.hint.step is None or not (-math.inf < first <= last < math.inf):
            raise ValueError(f"`ends` of column {self.name!r:.60} are those of no grid")


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fitted preprocessing of a table: one map a feature and one a context column.

    `forward` and `inverse` are exact inverses in float64. Dequantising noise is not part of
    them; `as_fitted` draws it again, `on_grid` takes it away.

    Attributes:
        columns: Of the D features.
        context: Of the C context columns.
        seed: Of the dequantising noise.
    """

    columns: tuple[ColumnMap, ...]
    context: tuple[ColumnMap, ...] = ()
    seed: int = 0
    version: Literal[2] = 2

    def __post_init__(self) -> None:
        names = set[str]()
        for column in (*self.columns, *self.context):
            if column.name in names:
                raise ValueError(f"`columns` have the name {column.name!r:.60} twice")
            names.add(column.name)

    @classmethod
    def fit(
        cls,
        values: Array,
        columns: Sequence[str],
        hints: Sequence[ColumnHint] | None = None,
        *,
        marginals: str | Sequence[str] = "standardise",
        context: Array | None = None,
        context_columns: Sequence[str] = (),
        rows: NDArray[np.intp] | None = None,
        weights: Array | None = None,
    ) -> Preprocessing:
        """Fit the map of every column.

        Args:
            values: Shape (n, D), on the data's own scale.
            columns: D names.
            hints: D hints, or None for none.
            marginals: Of which kind the maps are, see `nfopt.data.maps.marginals.names_of`.
            context: Shape (n, C), or None. Has no log-determinant.
            context_columns: C names.
            rows: The rows to fit on (the training part); None for all.
            weights: Shape (n,), non-negative, or None.

        Raises:
            DataError: If a column is constant or has no finite spread in these rows.
            ValueError: If a kind is not known.
        """
        hints = [ColumnHint()] * len(columns) if hints is None else hints
        picked = slice(None) if rows is None else rows
        line = np.column_stack(
            [bent(values[picked, index], hint)[0] for index, hint in enumerate(hints)]
        )
        seen = None if context is None else context[picked]
        weight = None if weights is None else weights[picked]
        kinds = names_of(marginals, len(columns), len(context_columns))
        empty = cls(
            columns=tuple(
                ColumnMap(name, NOTHING, hint) for name, hint in zip(columns, hints, strict=True)
            ),
            context=tuple(ColumnMap(name, NOTHING) for name in context_columns),
        )
        return empty.refitted(kinds, line, seen, weight)

    def refitted(
        self, kinds: Sequence[str], line: Array, context: Array | None, weights: Array | None
    ) -> Preprocessing:
        """Fit other marginal maps; bounds, grids and seed stay.

        Args:
            kinds: D + C names of maps.
            line: Shape (n, D), as `to_line` gives it.
            context: Shape (n, C), or None.
            weights: Shape (n,), or None.

        Raises:
            DataError: If a column is constant or has no finite spread in these rows.
        """
        blocks = [(line, self.columns)] + ([] if context is None else [(context, self.context)])
        names, fitted = iter(kinds), []
        for block, columns in blocks:
            fitted.append(
                tuple(
                    msgspec.structs.replace(
                        column, map=_fitted(column.name, next(names), block[:, index], weights)
                    )
                    for index, column in enumerate(columns)
                )
            )
        return msgspec.structs.replace(
            self, columns=fitted[0], context=fitted[1] if len(fitted) > 1 else self.context
        )

    def blank(self) -> Preprocessing:
        """Give what is left without the marginal maps: they change nothing."""
        columns, context = (
            tuple(msgspec.structs.replace(column, map=NOTHING) for column in block)
            for block in (self.columns, self.context)
        )
        return msgspec.structs.replace(self, columns=columns, context=context)

    @property
    def features(self) -> int:
        """D."""
        return len(self.columns)

    @property
    def rule(self) -> tuple[object, ...]:
        """All that does not depend on the marginal maps: names, bounds, grids, seed."""
        columns = [(column.name, column.hint, column.ends) for column in self.columns]
        return (*columns, *(column.name for column in self.context), self.seed)

    def forward(self, values: Array) -> tuple[Array, Array]:
        """Map data to what the flow sees.

        Args:
            values: Shape (n, D), on the data's own scale.

        Returns:
            z, shape (n, D), and log |det dz/dx| in nats, shape (n,). A row outside a bound has
            density 0: its log-determinant is -inf, the value concerned 0.
        """
        return self.from_line(*self.to_line(values))

    def to_line(self, values: Array) -> tuple[Array, Array]:
        """Take data from its bounds to the line, shape (n, D), with the log-determinant, (n,)."""
        values = self._checked(values, len(self.columns), "values")
        line, logdet = np.empty_like(values), np.zeros(len(values))
        for index, column in enumerate(self.columns):
            line[:, index], slope = bent(values[:, index], column.hint)
            logdet += slope
        return line, logdet

    def from_line(self, line: Array, logdet: Array) -> tuple[Array, Array]:
        """Apply the marginal maps to what `to_line` gave; the log-determinant is the whole one."""
        z, whole = np.empty_like(line), logdet.copy()
        for index, column in enumerate(self.columns):
            z[:, index], slope = column.map.forward(line[:, index])
            whole += np.where(np.isneginf(logdet), 0.0, slope)
        z[np.isneginf(logdet)[:, None] & ~np.isfinite(z)] = 0.0
        return z, whole

    def inverse(self, z: Array) -> Array:
        """Map what the flow makes to data, shape (n, D); stays inside the bounds."""
        z = self._checked(z, len(self.columns), "z")
        values = np.empty_like(z)
        for index, column in enumerate(self.columns):
            values[:, index] = unbent(column.map.inverse(z[:, index]), column.hint)
        return values

    def forward_context(self, context: Array) -> Array:
        """Map context columns, shape (n, C)."""
        context = self._checked(context, len(self.context), "context")
        mapped = np.empty_like(context)
        for index, column in enumerate(self.context):
            mapped[:, index] = column.map.forward(context[:, index])[0]
        return mapped

    def on_grid(self, values: Array) -> Array:
        """Put the tied columns of made-up data back on their grids, shape (n, D)."""
        values = self._checked(values, len(self.columns), "values").copy()
        for index, column in enumerate(self.columns):
            if column.ends is not None:
                values[:, index] = on_grid(values[:, index], column.hint, column.ends)
        return values

    def as_fitted(self, values: Array, context: Array | None = None, part: int = TEST) -> Array:
        """Spread tied columns as the loader spreads the rows of a part, by default the test rows.

        Args:
            values: Shape (n, D).
            context: Shape (n, C), or None.
            part: 0, 1, 2 for training, validation, test rows.
        """
        hints = [column.hint for column in self.columns]
        tied = [index for index, hint in enumerate(hints) if hint.step is not None]
        values = self._checked(values, len(self.columns), "values")
        if not tied:
            return values
        rows = values if context is None else np.column_stack([values, context])
        noise = row_noise(rows, tied, self.seed, part)
        values = values.copy()
        for index in tied:
            values[:, index] = dequantised(values[:, index], hints[index], noise[index])
        return values

    def to_json(self) -> str:
        """Write as JSON: the fields in order, numbers exact."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Preprocessing:
        """Read what `to_json` wrote, in version 1 (all maps standardise) or 2.

        Raises:
            DataError: If it is no such JSON, or has an unknown field or version.
        """
        try:
            raw = msgspec.json.decode(text)
            if isinstance(raw, dict) and raw.get("version", 1) == 1:
                old = msgspec.convert(raw, _First)
                return cls(_standardised(old.columns), _standardised(old.context))
            return msgspec.convert(raw, cls)
        except msgspec.MsgspecError as error:
            raise DataError(f"the stored preprocessing cannot be read: {error}") from error

    @staticmethod
    def _checked(values: Array, width: int, argument: str) -> Array:
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != width:
            raise ValueError(f"`{argument}` must have shape (n, {width}), not {values.shape}")
        return values


class _FirstColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of version 1."""

    name: str
    mean: float
    scale: float
    hint: ColumnHint = ColumnHint()


class _First(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Version 1."""

    columns: tuple[_FirstColumn, ...]
    context: tuple[_FirstColumn, ...] = ()
    version: Literal[1] = 1


for _kind in (Preprocessing, _First):
    msgspec.json.Decoder(_kind)  # read now: two threads that do it at once crash msgspec


def _standardised(columns: Sequence[_FirstColumn]) -> tuple[ColumnMap, ...]:
    return tuple(ColumnMap(one.name, Standardise(one.mean, one.scale), one.hint) for one in columns)


def check_spread(name: str, column: Array) -> None:
    """Refuse a column that is constant.

    Raises:
        DataError: Naming it.
    """
    if column.min() == column.max():
        raise DataError(
            f"column {name!r} is constant in the training rows: leave it out with `columns`, "
            "or split in another way"
        )


def _fitted(name: str, kind: str, column: Array, weights: Array | None) -> Marginal:
    check_spread(name, column)
    try:
        return fit_map(kind, column, weights)
    except DataError as error:
        raise DataError(f"column {name!r} can't be mapped by {kind}: {error}") from None
