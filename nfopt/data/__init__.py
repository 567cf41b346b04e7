"""Tables of continuous data: read, checked, split, and made ready for a flow.

table = load("data.csv", context=["energy"])
prepared = prepare(table, split(table, seed=0), seed=0)
"""

from __future__ import annotations

from nfopt.data.named import NAMED
from nfopt.data.prepare import Part, Prepared, dequantised_values, fingerprint, prepare
from nfopt.data.preprocess import ColumnHint, ColumnMap, Preprocessing
from nfopt.data.rows import Origin, load_rows
from nfopt.data.split import Split, SplitKind, split
from nfopt.data.synthetic import SparseGraph, sparse_graph
from nfopt.data.table import Table, load

__all__ = [
    "NAMED",
    "ColumnHint",
    "ColumnMap",
    "Origin",
    "Part",
    "Prepared",
    "Preprocessing",
    "SparseGraph",
    "Split",
    "SplitKind",
    "Table",
    "dequantised_values",
    "fingerprint",
    "load",
    "load_rows",
    "prepare",
    "sparse_graph",
    "split",
]
