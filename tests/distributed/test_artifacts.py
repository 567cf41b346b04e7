"""Stores of artifacts: a folder, and S3 by Optuna's store; where they are without a word."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts.exceptions import ArtifactNotFound

from nfopt.distributed import artifacts
from nfopt.distributed.artifacts import FolderStore, artifact_store, place_of


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
