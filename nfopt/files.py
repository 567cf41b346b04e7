"""Write beside, then rename: a file is there whole, or as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; what was written takes its place at the end.

    Of several files that belong together, the outermost block's is put in place last:

        with replacing(index) as new_index, replacing(content) as new_content: ...

    Args:
        path: Of the file to be written; its folder is made, a link to it stays one. Who may read it
            follows the umask. What is no file, such as a pipe, is given itself.

    Raises:
        OSError: If it can't be written; `path` is then as it was.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.touch()
        mode = S_IMODE(beside.stat().st_mode)
        yield beside
        with beside.open("rb") as file:  # on disk before its name is, should the power fail
            os.fsync(file.fileno())
        if S_IMODE(beside.stat().st_mode) != mode:  # safetensors lets only the owner read
            beside.chmod(mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
