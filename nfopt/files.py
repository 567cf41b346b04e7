"""Write beside, then rename: what is there is whole, or as it was. Folders that outlive no run."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE, S_ISDIR

with suppress(ImportError):  # Windows: nothing says whether a run still lives, so all is left
    import fcntl

PREFIX = "nfopt-"
_LOCK = ".lock"
_LOCKS = "fcntl" in globals()
_UNFINISHED = 3600.0  # seconds after which what was being written is taken for abandoned


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


def check_free(folder: Path, argument: str) -> None:
    """Refuse a folder that a new one can't take the place of.

    Raises:
        ValueError: If it is a file, or has something in it.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`{argument}` must be a directory, {str(folder)!r} is a file.")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"`{argument}` {str(folder)!r} is there already and not empty: remove it, or choose"
            " another."
        )


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder` to write to; at the end it takes its place, whole.

    Args:
        folder: Not there, or empty, see `check_free`; its parents are made.

    Raises:
        OSError: If it can't be written, or something came into it meanwhile; nothing is left then.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    beside.mkdir()
    try:
        yield beside
        for path in beside.iterdir():
            with path.open("rb") as file:  # on disk before the folder's name is
                os.fsync(file.fileno())
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class TemporaryFolder(tempfile.TemporaryDirectory[str]):
    """A temporary folder; if the process is killed, the next run's `remove_abandoned` removes it.

    The process holds a lock on a file in it, which ends with the process, however it ends.
    """

    def __init__(self) -> None:
        super().__init__(prefix=PREFIX, ignore_cleanup_errors=True)
        if not _LOCKS:
            return
        fresh = Path(self.name, f"{_LOCK}-new")
        self._locked = fresh.open("w")
        fcntl.flock(self._locked, fcntl.LOCK_EX)
        fresh.rename(fresh.with_name(_LOCK))  # by this name it is found, locked already

    def cleanup(self) -> None:
        """Remove it."""
        super().cleanup()
        if _LOCKS:
            self._locked.close()


def remove_abandoned() -> None:
    """Remove the temporary folders of this user's runs that were killed."""
    if not _LOCKS:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # not ours, locked by a run that lives, or just removed
            about = folder.lstat()
            if not S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing into a folder with `replacing`, an hour ago or more.

    The hour is for processes of other machines, whose life is not seen here.
    """
    for path in folder.glob(".*"):
        name, _, number = path.name.rpartition(".")
        if len(name) < 2 or not number.isdecimal():
            continue
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > _UNFINISHED and not _lives(int(number)):
                path.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
