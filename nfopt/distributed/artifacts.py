"""Where checkpoints, weights and pictures are kept: a folder, or a bucket of S3.

artifact_store("nfopt-runs/artifacts")      a folder, made when it is first written to
artifact_store("s3://bucket/runs")          Optuna's Boto3ArtifactStore, below a prefix
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from nfopt.errors import StudyError
from nfopt.files import replacing
from nfopt.optuna_internals import path_in_store
from nfopt.storage.open import Storage
from nfopt.storage.url import RUNS, address
from nfopt.stored import attributes_of

if TYPE_CHECKING:
    import optuna

    from nfopt.optuna_internals import ArtifactStore

S3 = "s3://"
FOLDER = "artifacts"


class FolderStore(FileSystemArtifactStore):
    """A folder, made with the first artifact; an artifact is there whole or not at all."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        super().__init__(self.path)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write beside, and put it in its place in one step."""
        path = path_in_store(self, artifact_id)
        with replacing(path) as beside, beside.open("wb") as file:
            shutil.copyfileobj(content_body, file)


class _Below:
    """A store of which only what begins with a prefix is used."""

    def __init__(self, store: ArtifactStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def open_reader(self, artifact_id: str) -> BinaryIO:
        return self._store.open_reader(self._prefix + artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self._store.write(self._prefix + artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        self._store.remove(self._prefix + artifact_id)


def artifact_store(where: str | os.PathLike[str]) -> ArtifactStore:
    """Open a store of artifacts; nothing is made yet.

    Args:
        where: A folder, or s3://BUCKET or s3://BUCKET/PREFIX with the keys where boto3 finds them
            (environment, ~/.aws).

    Raises:
        StudyError: If it is in S3 and boto3 is not installed, or can't be set up.
        ValueError: If the bucket has no name.
    """
    place = os.fspath(where)
    if not place.startswith(S3):
        return FolderStore(place)
    bucket, _, prefix = place.removeprefix(S3).partition("/")
    if not bucket:
        raise ValueError(f"`artifacts` must be a folder or s3://BUCKET, got {place!r}.")
    from optuna.artifacts import Boto3ArtifactStore

    try:
        store = Boto3ArtifactStore(bucket)
    except ImportError:
        raise StudyError(f"`artifacts` {place!r} needs boto3: pip install 'nfopt[s3]'.") from None
    except Exception as error:  # noqa: BLE001 - botocore's many: no region, a broken configuration
        raise StudyError(f"`artifacts` {place!r} can't be opened: {error}") from None
    prefix = prefix.strip("/")
    return _Below(store, f"{prefix}/") if prefix else store


def place_of(artifacts: str | os.PathLike[str] | None, storage: Storage | None) -> str | None:
    """Say where a study's artifacts are kept where the study does not know yet.

    Args:
        artifacts: What the user gave; a folder becomes absolute, as workers begin elsewhere.
        storage: Beside a database that is a file; else in nfopt-runs. None for one in memory,
            which nobody else can go on with.
    """
    if artifacts is not None:
        place = os.fspath(artifacts)
        return place if place.startswith(S3) else str(Path(place).resolve())
    if storage is not None and not isinstance(storage, str):
        return None
    file = address(storage).path
    folder = RUNS if file is None else file.parent
    return str((folder / FOLDER).resolve())


def store_of(study: optuna.Study) -> ArtifactStore | None:
    """Open the store of a study; None if it has none."""
    from nfopt import attributes as names

    place = attributes_of(study).get(names.ARTIFACTS)
    return None if place is None else artifact_store(str(place))


def failures(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """List what a store raises where it is full or away, or has not what is asked for.

    Args:
        more: What to catch beside.
    """
    own: tuple[type[Exception], ...] = (OSError, ArtifactNotFound, *more)
    if "boto3" not in sys.modules:
        return own
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (*own, Boto3Error, BotoCoreError, ClientError)


def put(store: ArtifactStore, key: str, content: bytes) -> None:
    """Write an artifact."""
    store.write(key, io.BytesIO(content))


def get(store: ArtifactStore, key: str) -> bytes:
    """Read an artifact.

    Raises:
        ArtifactNotFound: If it is not there.
    """
    with store.open_reader(key) as file:
        return file.read()


def drop(store: ArtifactStore, key: str) -> None:
    """Remove an artifact, if it is there."""
    with suppress(ArtifactNotFound):
        store.remove(key)
