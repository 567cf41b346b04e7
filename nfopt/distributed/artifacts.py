"""The store of checkpoints, weights and pictures: a folder, or a bucket of S3.

artifact_store("nfopt-runs/artifacts")      a folder, created by the first write
artifact_store("s3://bucket/runs")          Optuna's Boto3ArtifactStore, below a prefix
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from nfopt import attributes as names
from nfopt.distributed.ownership import OWNER, S3, TOKEN, Owner, home_of, mark_of
from nfopt.errors import StudyError
from nfopt.files import replacing
from nfopt.optuna_internals import path_in_store, storage_of
from nfopt.storage.open import Storage
from nfopt.storage.retrying import PatientStorage
from nfopt.storage.url import RUNS, address, url_of
from nfopt.stored import attributes_of

if TYPE_CHECKING:
    import optuna

    from nfopt.optuna_internals import ArtifactStore

FOLDER = "artifacts"
MOST_READ = 1 << 30  # bytes of an artifact
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


class FolderStore(FileSystemArtifactStore):
    """A folder, created with the first artifact; artifacts are written atomically."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        super().__init__(self.path)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write a temporary file, then rename it."""
        path = path_in_store(self, artifact_id)
        with replacing(path) as beside, beside.open("wb") as file:
            shutil.copyfileobj(content_body, file)


class _Below:
    """The part of a store whose ids begin with a prefix."""

    def __init__(self, store: ArtifactStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def open_reader(self, artifact_id: str) -> BinaryIO:
        return self._store.open_reader(self._below(artifact_id))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self._store.write(self._below(artifact_id), content_body)

    def remove(self, artifact_id: str) -> None:
        self._store.remove(self._below(artifact_id))

    def _below(self, artifact_id: str) -> str:
        """The id with the prefix; refuses paths, which could lead outside of the part."""
        if not NAME.fullmatch(artifact_id):
            raise ArtifactNotFound(f"{artifact_id[:80]!r} is no name of an artifact")
        return self._prefix + artifact_id


class _Kept:
    """A store from which nothing is removed."""

    def __init__(self, store: ArtifactStore) -> None:
        self.open_reader, self.write = store.open_reader, store.write

    def remove(self, artifact_id: str) -> None:
        """Do nothing: the artifact may be another study's."""


def artifact_store(where: str | os.PathLike[str]) -> ArtifactStore:
    """Open a store of artifacts, without creating anything.

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
    bucket, prefix = bucket_of(place)
    from optuna.artifacts import Boto3ArtifactStore

    try:
        store = Boto3ArtifactStore(bucket)
    except ImportError:
        raise StudyError(f"`artifacts` {place!r} needs boto3: pip install 'nfopt[s3]'.") from None
    except Exception as error:  # noqa: BLE001 - botocore's many: no region, a broken configuration
        raise StudyError(f"`artifacts` {place!r} can't be opened: {error}") from None
    return _Below(store, prefix) if prefix else store


def bucket_of(place: str) -> tuple[str, str]:
    """Give the bucket of a place in S3, and the prefix of all names there: "" or "PREFIX/"."""
    bucket, _, prefix = place.removeprefix(S3).partition("/")
    if not bucket:
        raise ValueError(f"`artifacts` must be a folder or s3://BUCKET, got {place!r}.")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def place_of(artifacts: str | os.PathLike[str] | None, storage: Storage | None) -> str | None:
    """The location of a new study's artifacts.

    Args:
        artifacts: As given by the user; a folder becomes absolute, as workers start elsewhere.
        storage: Artifacts are beside a storage that is a file, else in nfopt-runs; nowhere for a
            storage in memory, which no other process can resume.
    """
    if artifacts is not None:
        place = os.fspath(artifacts)
        return place if place.startswith(S3) else str(Path(place).resolve())
    if storage is not None and not isinstance(storage, str):
        return None
    file = address(storage).path
    folder = RUNS if file is None else file.parent
    return str((folder / FOLDER).resolve())


def root_of(study: optuna.Study) -> str | None:
    """The location of a study's artifacts for this process; None: it has none.

    It is the given one, or that of the storage, and never the one stored in the study: whoever can
    write to a shared storage could then choose what is written and removed on this machine. Only a
    study in memory, which is private, has it stored.
    """
    storage = storage_of(study)
    given = storage.artifacts if isinstance(storage, PatientStorage) else None
    if given is not None:
        return given
    url = url_of(storage)
    if url is not None:
        return place_of(None, url)
    place = attributes_of(study).get(names.ARTIFACTS)
    return None if place is None else str(place)


def store_of(study: optuna.Study) -> ArtifactStore | None:
    """The store of a study's pictures, which the dashboard reads; None if it has none."""
    root = root_of(study)
    return None if root is None else artifact_store(root)


def own_store(study: optuna.Study) -> ArtifactStore | None:
    """The study's own part of the store, for checkpoints and weights; None if it has none."""
    token = attributes_of(study).get(names.ARTIFACTS_TOKEN)
    root = root_of(study)
    if root is None:
        return None
    if token is None:  # an old study: it shares one folder, from which nothing is removed
        return _Kept(artifact_store(root))
    return _own(study, root, token)


def settle(
    study: optuna.Study, given: str | os.PathLike[str] | None = None, *, make: bool = False
) -> None:
    """Set this process's location of a study's artifacts, and check that its workers share it.

    Args:
        study: The study.
        given: The location given by the user; None: that of the storage.
        make: Create a folder with a token, by which other workers recognise it, if the study has
            none, or none at the given location.

    Raises:
        StudyError: If it is not the folder that the study's other workers share.
    """
    storage = storage_of(study)
    if given is not None:
        place = place_of(given, None)
        if isinstance(storage, PatientStorage):
            storage.artifacts = place
        else:
            study.set_user_attr(names.ARTIFACTS, place)
    root = root_of(study)
    if root is None:
        return
    known = attributes_of(study)
    token = known.get(names.ARTIFACTS_TOKEN)
    if token is not None and _has(_own(study, root, token), token):
        return
    if token is None and not make:
        return
    if token is not None and not (make and given is not None):
        raise StudyError(
            f"`artifacts` {root!r} is not the folder that the workers of study"
            f" {study.study_name!r} share, which the study calls {known.get(names.ARTIFACTS)!r}:"
            " say where it is on this machine."
        )
    token = uuid.uuid4().hex
    own = _own(study, root, token)
    try:
        put(own, TOKEN, token.encode())
        if home := home_of(storage, root):
            put(own, OWNER, msgspec.json.encode(Owner(study.study_name, home)))
    except failures():
        return  # reported when the first checkpoint can't be written
    study.set_user_attr(names.ARTIFACTS, root)
    study.set_user_attr(names.ARTIFACTS_TOKEN, token)


def mark(study: optuna.Study) -> str | None:
    """A study's mark in its store of artifacts; None: it has no part of its own there."""
    token = attributes_of(study).get(names.ARTIFACTS_TOKEN)
    return None if token is None else mark_of(study.study_name, token)


def _own(study: optuna.Study, root: str, token: str) -> ArtifactStore:
    return _Below(artifact_store(root), f"study-{mark_of(study.study_name, token)}/")


def _has(store: ArtifactStore, token: str) -> bool:
    try:
        return get(store, TOKEN) == token.encode()
    except failures():
        return False


def failures(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """The exceptions of a store that is full or away, or lacks an artifact.

    Args:
        more: Further exceptions.
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
        OSError: If it is larger than nfopt writes any.
    """
    with store.open_reader(key) as file:
        content = file.read(MOST_READ + 1)
    if len(content) > MOST_READ:
        raise OSError(errno.EFBIG, f"{key} has more than {MOST_READ >> 30} GiB")
    return content


def drop(store: ArtifactStore, key: str) -> None:
    """Remove an artifact, if it is there."""
    with suppress(ArtifactNotFound):
        store.remove(key)
