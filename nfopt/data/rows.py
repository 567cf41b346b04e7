"""`load_rows`: any source to the columns of a trained flow, by name where there are names."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt.data.raw import RawTable, check_names, numbers_of
from nfopt.data.sources.dialect import TextOptions
from nfopt.data.sources.source import read_source
from nfopt.data.wording import escaped_name, names_text, not_finite_text
from nfopt.errors import DataError

Array = NDArray[np.float64]


class Origin(msgspec.Struct, frozen=True):
    """What the columns of a flow's training table were; kept with the flow.

    Attributes:
        columns: All columns of the table, in its order.
        named: These are the table's own names, not made from positions.
        left_out: Columns that only count the rows, and were no features for that.
    """

    columns: tuple[str, ...]
    named: bool = True
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, plain: object) -> Origin | None:
        """Read what a flow's description says; None if it says nothing that can be used."""
        try:
            return msgspec.convert(plain, cls)
        except (msgspec.MsgspecError, TypeError):
            return None


msgspec.json.Decoder(Origin)  # read now: two threads that do it at once crash msgspec


def load_rows(
    source: Any,
    *,
    columns: Sequence[str],
    context: Sequence[str] = (),
    origin: Origin | None = None,
    header: bool | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    drop_rows: bool = False,
    on_drop: Callable[[int], None] | None = None,
    argument: str | None = None,
    flat_row: bool = False,
) -> tuple[Array, Array | None]:
    """Read rows to be scored by a flow, or to condition its samples: any number, one suffices.

    Columns are found by name. A source without names is read by position: features, then
    context; or, where it has all columns of the training table (those that were left out may
    lack), as they stand there.

    Args:
        source: As for `load`; also a Series whose labels are the columns' names, for one row.
        columns: The names of the flow's features.
        context: The names of its context columns.
        origin: What the training table's columns were, where it is known.
        header: As for `load`.
        separator: As for `load`.
        decimal: As for `load`.
        drop_rows: As for `load`.
        on_drop: Told how many rows were left out, if any were.
        argument: What the caller calls the source, for messages.
        flat_row: A source with one axis, of as many values as there are columns, is one row.

    Returns:
        Values, shape (n, D), and context, shape (n, C), or None if `context` is empty.

    Raises:
        DataError: If a column is missing, not numeric, or not finite; if a source without names
            could be read in two ways.
        TypeError: If `source` is nothing that holds rows.
    """
    wanted = (*columns, *context)
    text = TextOptions(header, separator, decimal)
    try:
        shape = getattr(source, "shape", None)
        if argument is not None and shape == (0, len(wanted)):
            return np.empty((0, len(columns))), np.empty((0, len(context))) if context else None
        raw = _read(source, text, wanted, argument, flat_row)
        check = _Wanted(raw, tuple(columns), tuple(context), origin, argument)
        at = check.positions()
        block = np.empty((raw.rows, len(wanted)))
        for target, (position, name) in enumerate(zip(at, wanted, strict=True)):
            block[:, target] = numbers_of(raw.at(position), name)
    except _Refused:
        raise
    except TypeError as error:
        if argument is None:
            raise
        raise _Refused(str(error)) from None
    except DataError as error:
        if argument is None or f"`{argument}`" in str(error):
            raise
        raise DataError(f"`{argument}` must be rows of numbers: {error}") from None
    finite = np.isfinite(block)
    keep = finite.all(axis=1)
    if not keep.all():
        if not drop_rows:
            raise DataError(_not_finite(finite, wanted, argument))
        block = block[keep]
        if on_drop is not None:
            on_drop(int(np.count_nonzero(~keep)))
    width = len(columns)
    return block[:, :width].copy(), block[:, width:].copy() if context else None


class _Refused(DataError):
    """A message that names the caller's argument already."""


def _read(
    source: Any, text: TextOptions, wanted: Sequence[str], argument: str | None, flat_row: bool
) -> RawTable:
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and isinstance(source, pandas.Series):
        labels = [str(label) for label in source.index]
        row = dict(zip(labels, source, strict=True))
        if set(wanted) <= set(labels):
            check_names([label for label in labels if label in wanted], "the row")
            source = {name: [row[name]] for name in wanted}
        elif set(wanted) & set(labels) or (
            flat_row and len(labels) == len(wanted) > 1 and not _counted(source.index)
        ):
            missing = [name for name in wanted if name not in row]
            raise DataError(f"the row lacks {names_text(missing)}; it has {names_text(labels)}")
    shape = getattr(source, "shape", ())
    if argument is not None and isinstance(shape, tuple) and len(shape) > 2:
        raise _Refused(f"`{argument}` must have shape (n, {len(wanted)}), got {tuple(shape)}.")
    raw = read_source(source, text, argument=argument or "source")
    if flat_row and raw.flat and not raw.named and raw.rows == len(wanted) > 1:
        values = np.array([numbers_of(raw.at(0), "x0")])
        return RawTable(raw.name, tuple(f"x{at}" for at in range(len(wanted))), values, named=False)
    return raw


def _counted(index: Any) -> bool:
    """Tell whether an index is none: 0, 1, 2, ..."""
    return list(index) == list(range(len(index)))


class _Wanted(msgspec.Struct):
    """The columns that a flow wants of a table."""

    raw: RawTable
    columns: tuple[str, ...]
    context: tuple[str, ...]
    origin: Origin | None
    argument: str | None

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.columns, *self.context)

    @property
    def said(self) -> str:
        return repr(self.raw.name) if self.argument is None else f"`{self.argument}`"

    def positions(self) -> list[int]:
        """Find where each wanted column stands in the table."""
        return self._by_name() if self.raw.named else self._by_position()

    def _by_name(self) -> list[int]:
        here = self.raw.columns
        for written in (self.names, tuple(map(escaped_name, self.names))):
            if set(written) <= set(here):
                check_names([name for name in here if name in written], self.raw.name)
                return [here.index(name) for name in written]
        missing = [name for name in self.names if name not in here]
        # a flow of data without names takes any, if their order says nothing else
        if self._nameless() and len(missing) == len(self.names):
            numbers = _numbers_in(here)
            if len(here) == len(self.names) and (numbers is None or numbers == sorted(numbers)):
                return list(range(len(here)))
        raise DataError(
            f"{self.said} lacks {names_text(missing)} of the flow; it has {names_text(here)}"
        )

    def _by_position(self) -> list[int]:
        width, wanted = len(self.raw.columns), len(self.names)
        if self.raw.flat and wanted > 1 and self.argument is not None:
            raise _Refused(f"{self.said} must have shape (n, {wanted}), got ({self.raw.rows},).")
        in_order = list(range(wanted)) if width == wanted else None
        as_trained = self._as_trained(width)
        if in_order is None and as_trained is None:
            self._refuse_width(width)
        # arrays in the order of `Flow.columns` are what `Flow.sample` gives
        own = not self.context and self.origin is not None and self.origin.named
        if in_order is None or as_trained is None or own or in_order == as_trained:
            positions = as_trained if in_order is None else in_order
            return positions or []
        raise DataError(
            f"{self.said} has no column names and could be read in two orders: that of the flow "
            f"({_some(self.names)}), or that of its training table: give it names, as a DataFrame "
            "or a dict"
        )

    def _as_trained(self, width: int) -> list[int] | None:
        """Find the columns where they stood in the training table, if this is as wide."""
        if self.origin is None:
            numbers = _numbers_in(self.names)
            plain = self._nameless() and numbers is not None and max(numbers) < width
            return numbers if plain else None
        everything = list(self.origin.columns)
        kept = [name for name in everything if name not in self.origin.left_out]
        for table in (everything, kept):
            if len(table) == width and set(self.names) <= set(table):
                return [table.index(name) for name in self.names]
        return None

    def _nameless(self) -> bool:
        if self.origin is not None:
            return not self.origin.named
        return all(re.fullmatch(r"x?\d+", name) for name in self.names)

    def _refuse_width(self, width: int) -> None:
        if self.context and self.argument == "x" and width == len(self.columns):
            raise _Refused(
                f"`context` must have {len(self.context)} columns ({_some(self.context)}),"
                " got None."
            )
        wanted = len(self.names) if self.argument != "x" else len(self.columns)
        if self.argument is None:
            raise DataError(
                f"{self.said} lacks {names_text(self.names)} of the flow: without column names it "
                f"must have {wanted} columns, got {width}"
            )
        if self.argument == "context":
            rows = self.raw.rows
            raise _Refused(
                f"{self.said} must have shape ({rows}, {wanted}) or ({wanted},), "
                f"got ({rows}, {width})."
            )
        raise _Refused(
            f"{self.said} must have {wanted} columns ({_some(self.names[:wanted])}), got {width}."
        )


def _numbers_in(names: Sequence[str]) -> list[int] | None:
    """Read the numbers of names such as x0, x1 or column_0, column_1; None where others stand."""
    matches = [re.fullmatch(r"(.*?)(\d{1,9})", name) for name in names]
    parts = [match.groups() for match in matches if match]
    if len(parts) < len(names) or len({stem for stem, _ in parts}) > 1:
        return None
    return [int(number) for _, number in parts]


def _not_finite(finite: NDArray[np.bool_], names: Sequence[str], argument: str | None) -> str:
    if argument is not None:
        broken = np.flatnonzero(~finite.all(axis=1))
        return (
            f"`{argument}` must be finite: row {broken[0]} (counted from 0) holds NaN, a missing "
            f"value or infinity, as {len(broken):,} of {len(finite):,} rows do."
        )
    rows = {
        name: np.flatnonzero(~finite[:, column])
        for column, name in enumerate(names)
        if not finite[:, column].all()
    }
    return not_finite_text(rows, len(finite), int(finite.all(axis=1).sum()))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
