"""Any source: the name of a data set, a path, or what a Python user holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nfopt.data.named import is_named, named_table
from nfopt.data.raw import RawTable
from nfopt.data.sources.dialect import PLAIN, TextOptions
from nfopt.data.sources.files import file_kind, read_file
from nfopt.data.sources.objects import from_object


def read_source(source: Any, text: TextOptions = PLAIN, *, argument: str = "source") -> RawTable:
    """Read whatever a table may come from, for loading and for scoring.

    Args:
        source: As for `nfopt.data.load`.
        text: How a text file is written.
        argument: What the caller calls it, for messages.

    Raises:
        DataError: If it can't be read.
        TypeError: If it is nothing of that kind.
    """
    if isinstance(source, str) and is_named(source):
        return named_table(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        plain = isinstance(source, str) and path.name == source and not file_kind(path)
        # A bare word without a known ending is a misspelt data set rather than a missing file.
        if plain and not os.path.exists(path):
            return named_table(str(source))
        return read_file(path, text)
    return from_object(source, argument=argument)
