"""Tables of continuous data: read, checked, split, and made ready for a flow.

table = load("data.csv", context=["energy"])
prepared = prepare(table, split(table, seed=0), seed=0)
"""

from __future__ import annotations

from nfopt.data.maps.lines import LinePart, Lines, Part
from nfopt.data.maps.marginals import DEFAULT, MARGINALS, check_marginals, names_of
from nfopt.data.maps.precision import merge_fault
from nfopt.data.maps.preprocess import ColumnHint, ColumnMap, Preprocessing
from nfopt.data.named import NAMED
from nfopt.data.prepare import Prepared, fingerprint, folds, prepare
from nfopt.data.rows import Origin, load_rows
from nfopt.data.split import Split, SplitKind, split, split_without_test
from nfopt.data.synthetic import SparseGraph, sparse_graph
from nfopt.data.table import Table, load

__all__ = [
    "DEFAULT",
    "MARGINALS",
    "NAMED",
    "ColumnHint",
    "ColumnMap",
    "LinePart",
    "Lines",
    "Origin",
    "Part",
    "Prepared",
    "Preprocessing",
    "SparseGraph",
    "Split",
    "SplitKind",
    "Table",
    "check_marginals",
    "fingerprint",
    "folds",
    "load",
    "load_rows",
    "merge_fault",
    "names_of",
    "prepare",
    "sparse_graph",
    "split",
    "split_without_test",
]
