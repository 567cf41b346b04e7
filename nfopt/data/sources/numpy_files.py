"""NPY and NPZ: headers are checked against the bytes that are there before an array is made."""

from __future__ import annotations

import ast
import math
import struct
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data.raw import RawTable, from_array
from nfopt.data.sources.limits import check_unpacked, refusing
from nfopt.errors import DataError

_PART_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_HEADER = 10_000  # bytes of an NPY header, as NumPy has it


def read_npy(path: Path, size: int, name: str) -> RawTable:
    """Read an NPY file of so many bytes."""
    with refusing(path), path.open("rb") as file:
        array = _array(file, size, f"{path.name!r}")
    return from_array(array, name=name, what=repr(path.name))


def read_npz(path: Path, size: int, name: str) -> RawTable:
    """Read an NPZ file: its only array, or its three parts."""
    arrays: dict[str, NDArray[Any]] = {}
    with refusing(path), zipfile.ZipFile(path) as archive:
        members = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
        keys = [key for key, one in members.items() if one.filename.endswith(".npy")]
        wanted = _npz_keys(path, keys or list(members))
        named = "columns" in keys and "columns" not in wanted
        chosen = [*wanted, *(["columns"] if named else [])]
        check_unpacked(path, size, sum(members[key].file_size for key in chosen))
        for key in chosen:
            one = members[key]
            if one.flag_bits & 0x1:
                raise DataError(f"{path.name!r} ({key}) is encrypted: save it without a password")
            with refusing(path, key), archive.open(one) as file:
                arrays[key] = _array(file, one.file_size, f"{path.name!r} ({key})")
    names = arrays.pop("columns", None) if named else None
    tables = [from_array(arrays[key], name=name, what=f"{path.name!r} ({key})") for key in wanted]
    width = len(tables[0].columns)
    if any(len(table.columns) != width for table in tables):
        shapes = ", ".join(f"{key} {arrays[key].shape}" for key in wanted)
        raise DataError(f"the parts of {path.name!r} differ in their columns: {shapes}")
    columns, known = tables[0].columns, tables[0].named
    if known and any(table.columns != columns for table in tables):
        raise DataError(f"the parts of {path.name!r} differ in their fields' names")
    if names is not None and names.shape == (width,) and names.dtype.kind in "US":
        columns, known = tuple(_text(one) for one in names), True
    if len(tables) == 1:
        return RawTable(name, columns, tables[0].content, named=known)
    ends = np.cumsum([0, *(table.rows for table in tables)])
    train, val, test = (np.arange(a, b) for a, b in pairwise(ends))
    content: Any
    if all(isinstance(table.content, np.ndarray) for table in tables):
        content = np.concatenate([np.asarray(table.content) for table in tables])
    else:
        content = tuple(np.concatenate([table.at(k) for table in tables]) for k in range(width))
    return RawTable(name, columns, content, parts=(train, val, test), named=known)


def _text(name: Any) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def _array(file: IO[bytes], size: int, where: str) -> NDArray[Any]:
    """Read an array from the start of a file of so many bytes.

    Raises:
        DataError: If it holds Python objects, or its header claims more than is there.
    """
    shape, fortran, dtype = _header(file)
    if dtype.hasobject:
        raise DataError(
            f"{where} holds pickled Python objects, which are never loaded: save it as numbers"
        )
    count = math.prod(shape)
    if any(length < 0 for length in shape) or dtype.itemsize == 0:
        raise DataError(f"{where} cannot be read: its header claims {shape} of {dtype}")
    claimed = count * dtype.itemsize
    there = size - file.tell()
    if claimed > there:
        raise DataError(
            f"{where} is cut off, or its header is wrong: {shape} of {dtype} takes {claimed:,} "
            f"bytes, {max(there, 0):,} are there"
        )
    values = np.empty(count, dtype=dtype)
    view = values.view(np.uint8) if count else np.empty(0, dtype=np.uint8)
    read = 0
    while read < claimed:
        block = file.read(min(claimed - read, 1 << 24))
        if not block:
            raise DataError(f"{where} is cut off after {read:,} of {claimed:,} bytes")
        view[read : read + len(block)] = np.frombuffer(block, dtype=np.uint8)
        read += len(block)
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, order and dtype from an NPY header of any version."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    # 3.0 is 2.0 in UTF-8, for names of fields; NumPy has no public reader of it
    (length,) = struct.unpack("<I", file.read(4))
    if version != (3, 0) or length > _HEADER:
        raise ValueError(f"its header is of version {version} and {length:,} bytes")
    said = ast.literal_eval(file.read(length).decode())
    shape = said["shape"]
    if not isinstance(shape, tuple) or not all(type(one) is int for one in shape):
        raise ValueError(f"its header claims the shape {shape!r}")
    return shape, bool(said["fortran_order"]), np.lib.format.descr_to_dtype(said["descr"])


def _npz_keys(path: Path, keys: Sequence[str]) -> list[str]:
    """Choose what to read: the three parts, or the only array."""
    if not keys:
        raise DataError(f"{path.name!r} is empty: it holds no array")
    key_of = {
        part: next((key for key in aliases if key in keys), None)
        for part, aliases in _PART_NAMES.items()
    }
    parts = [key for key in key_of.values() if key is not None]
    if len(parts) == 3:
        return parts
    if len(keys) == 1:
        return list(keys)
    if len(keys) == 2 and "columns" in keys:
        return [key for key in keys if key != "columns"]
    held = ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")
    raise DataError(
        f"{path.name!r} holds {len(keys)} arrays ({held[:120]}): it needs one, or train, val and "
        "test"
    )
