"""Stores of artifacts: a folder, and S3 by Optuna's store; where they are without a word."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts.exceptions import ArtifactNotFound

from nfopt import attributes as names
from nfopt.distributed import artifacts
from nfopt.distributed.artifacts import (
    FolderStore,
    artifact_store,
    drop,
    get,
    own_store,
    place_of,
    put,
    settle,
)
from nfopt.errors import StudyError
from nfopt.storage.open import open_storage


class Bucket:
    """What boto3's client does with objects, in memory."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}

    def upload_fileobj(self, file: Any, bucket: str, key: str) -> None:
        self.objects[bucket, key] = file.read()

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        error = pytest.importorskip("botocore.exceptions").ClientError
        if (Bucket, Key) not in self.objects:
            raise error({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Bucket, Key])}

    def delete_object(self, Bucket: str, Key: str) -> None:
        self.objects.pop((Bucket, Key), None)


def contract(store: Any) -> None:
    artifacts.put(store, "a.json", b"{}")
    artifacts.put(store, "a.json", b"[1]")
    assert artifacts.get(store, "a.json") == b"[1]"
    artifacts.drop(store, "a.json")
    artifacts.drop(store, "a.json")
    with pytest.raises(ArtifactNotFound):
        artifacts.get(store, "a.json")


def test_a_folder(tmp_path: Path) -> None:
    store = artifact_store(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    contract(store)
    artifacts.put(store, "b", b"whole")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["b"]


def test_a_write_that_fails_leaves_the_old_artifact(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, *arguments: Any) -> bytes:
            raise OSError(28, "No space left on device")

    store = FolderStore(tmp_path)
    artifacts.put(store, "a", b"old")
    with pytest.raises(OSError, match="No space"):
        store.write("a", Broken())
    assert artifacts.get(store, "a") == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("prefix", ["", "runs/one"])
def test_s3(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    boto3 = pytest.importorskip("boto3")
    bucket = Bucket()
    monkeypatch.setattr(boto3, "client", lambda kind: bucket)
    store = artifact_store(f"s3://mine/{prefix}")
    contract(store)
    artifacts.put(store, "b", b"1")
    assert list(bucket.objects) == [("mine", f"{prefix}/b" if prefix else "b")]


def test_a_bucket_without_a_name() -> None:
    with pytest.raises(ValueError, match="`artifacts` must be a folder or s3://BUCKET"):
        artifact_store("s3://")


def test_where_artifacts_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of(None, f"sqlite:///{tmp_path}/runs/s.db") == str(tmp_path / "runs" / "artifacts")
    usual = str(tmp_path / "nfopt-runs" / "artifacts")
    monkeypatch.delenv("NFOPT_STORAGE", raising=False)
    assert place_of(None, None) == usual
    assert place_of(None, f"journal:///{tmp_path}/j/s.log") == str(tmp_path / "j" / "artifacts")
    assert place_of(None, "postgresql+psycopg://me:secret@host/name") == usual
    assert place_of(None, optuna.storages.InMemoryStorage()) is None
    assert place_of("here", None) == str(tmp_path / "here")
    assert place_of("s3://bucket/x", None) == "s3://bucket/x"


def study_at(folder: Path, name: str = "s") -> optuna.Study:
    storage = open_storage(f"sqlite:///{folder}/runs/s.db")
    return optuna.create_study(study_name=name, storage=storage, load_if_exists=True)


def test_a_study_does_not_say_where_its_artifacts_are(tmp_path: Path) -> None:
    study = study_at(tmp_path)
    study.set_user_attr(names.ARTIFACTS, str(tmp_path / "victim"))
    settle(study, make=True)
    store = own_store(study_at(tmp_path))
    assert store is not None
    put(store, "weights-1", b"x")
    assert not (tmp_path / "victim").exists()
    assert [p.parent.parent.name for p in tmp_path.rglob("weights-1")] == ["artifacts"]


def test_a_study_can_remove_nothing_of_another_one(tmp_path: Path) -> None:
    mine, other = study_at(tmp_path), study_at(tmp_path, "other")
    for study in (mine, other):
        settle(study, make=True)
    store = own_store(mine)
    assert store is not None
    put(store, "weights-1", b"x")
    # whoever can write to the storage gives the other study all that this one says of itself
    for name in (names.ARTIFACTS, names.ARTIFACTS_TOKEN):
        other.set_user_attr(name, mine.user_attrs[name])
    theirs = own_store(other)
    assert theirs is not None
    drop(theirs, "weights-1")
    with pytest.raises(StudyError, match="`artifacts`"):
        settle(other)
    put(theirs, "mine", b"y")  # now its folder is there, from which a path could lead on
    folder = next(tmp_path.rglob("weights-1")).parent.name
    for key in ("../weights-1", "/etc/passwd", f"../{folder}/weights-1", "..", ".", "", "a/b"):
        drop(theirs, key)
        with pytest.raises(ArtifactNotFound):
            put(theirs, key, b"z")
    assert get(store, "weights-1") == b"x"


def test_workers_of_a_study_share_a_folder_and_check_its_token(tmp_path: Path) -> None:
    settle(study_at(tmp_path), tmp_path / "shared", make=True)
    settle(study_at(tmp_path), tmp_path / "shared")
    with pytest.raises(StudyError, match=r"`artifacts` .*elsewhere.* is not the folder"):
        settle(study_at(tmp_path), tmp_path / "elsewhere")
    with pytest.raises(StudyError, match="shared"):
        settle(study_at(tmp_path))  # at the storage's place
    assert not (tmp_path / "elsewhere").exists()


def test_of_an_old_study_nothing_is_removed(tmp_path: Path) -> None:
    study = study_at(tmp_path)
    put(artifact_store(tmp_path / "runs" / "artifacts"), "weights-1", b"x")
    store = own_store(study)
    assert store is not None
    drop(store, "weights-1")
    assert get(store, "weights-1") == b"x"
