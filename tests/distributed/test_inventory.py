"""Whose the files of a store are, what may be deleted, and what nobody refers to."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest
from optuna.trial import TrialState

from nfopt import attributes as names
from nfopt.distributed import artifacts
from nfopt.distributed.inventory import Item, held, listing, unreferenced
from nfopt.distributed.ownership import home_of, is_picture, new_picture
from nfopt.distributed.process import Worker
from nfopt.distributed.removal import delete_study, refuse_if_worked_on, remove
from nfopt.errors import StudyError
from nfopt.storage.open import open_storage

from .filled import age, files, filled, one_goes_and_the_other_stays


@pytest.mark.parametrize("kind", ["sqlite:///{}/runs/s.db", "journal:///{}/runs/s.log"])
def test_a_study_goes_with_what_it_wrote_and_nothing_else(kind: str, tmp_path: Path) -> None:
    one_goes_and_the_other_stays(kind.format(tmp_path), tmp_path / "runs" / "artifacts")


def test_pictures_tell_whose_they_are() -> None:
    keys = [new_picture("a" * 32) for _ in range(50)]
    assert len(set(keys)) == 50
    assert all(is_picture(key, "a" * 32) for key in keys)
    assert not any(is_picture(key, "b" * 32) for key in keys)
    other = [new_picture(None), "notes.txt", "", keys[0].upper(), keys[0].replace("-", "")]
    assert not any(is_picture(key, "a" * 32) for key in other)


@pytest.mark.parametrize(
    ("url", "home"),
    [
        ("sqlite:////data/runs/s.db", "sqlite:../runs/s.db"),
        ("journal:////data/runs/s.log", "journal:../runs/s.log"),
        ("postgresql://me:secret@db:5432/flows", "postgresql://db:5432/flows"),
        ("postgresql+psycopg://db/flows?host=/run/pg", "postgresql://db/flows"),
        ("postgresql:///flows?host=/run/pg", "postgresql:///run/pg/flows"),
        ("grpc://host:13000", "grpc://host:13000"),
        ("sqlite://", None),
    ],
)
def test_a_storage_is_named_without_secrets_and_moves_with_its_artifacts(
    url: str, home: str | None
) -> None:
    assert home_of(url, "/data/artifacts") == home


def test_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "token").write_text("x")
    root = tmp_path / "artifacts"
    root.mkdir()
    (root / f"study-{'0' * 32}").symlink_to(victim)
    (root / new_picture("0" * 32)).symlink_to(victim / "token")
    there = listing(str(root))
    assert (there.pictures, there.folders) == ({}, {})


def test_what_a_user_put_into_a_studys_folder_stays(tmp_path: Path) -> None:
    study = filled(f"journal:///{tmp_path}/s.log", "s")
    (folder,) = tmp_path.glob("artifacts/study-*")
    (folder / "notes.txt").write_text("mine")
    delete_study(study, held(study))
    assert files(tmp_path / "artifacts") == {f"{folder.name}/notes.txt"}


def test_of_a_study_whose_artifacts_are_elsewhere_it_is_said(tmp_path: Path) -> None:
    url = f"journal:///{tmp_path}/s.log"
    filled(url, "s", tmp_path / "far")
    study = optuna.load_study(study_name="s", storage=open_storage(url))  # without --artifacts
    holds = held(study)
    assert (holds.root, holds.own) == (str(tmp_path / "artifacts"), ())
    assert holds.elsewhere == str(tmp_path / "far")


def test_a_study_of_another_storage_keeps_its_folder_whatever_is_said_of_it(tmp_path: Path) -> None:
    root = tmp_path / "r"
    mine = filled(f"journal:///{tmp_path}/a.log", "s", root)
    url = f"journal:///{tmp_path}/b.log"
    other = optuna.create_study(study_name="s", storage=open_storage(url))
    other.set_user_attr(names.ARTIFACTS_TOKEN, mine.user_attrs[names.ARTIFACTS_TOKEN])
    artifacts.settle(other, root)  # the token says that it is its folder
    before = files(root)
    holds = held(other)
    assert (holds.own, holds.maker) == ((), "journal:../a.log")
    assert delete_study(other, holds) == []
    assert files(root) == before
    assert len(held(mine).own) == 8


def orphans(url: str, root: Path) -> list[tuple[str, bool, int]]:
    found = unreferenced(open_storage(url), listing(str(root)), time.time())
    return [(one.study, one.deleted, len(one.items)) for one in found]


def test_only_what_this_storage_wrote_an_hour_ago_is_taken_for_abandoned(tmp_path: Path) -> None:
    url, other, root = (
        f"journal:///{tmp_path}/a.log",
        f"journal:///{tmp_path}/b.log",
        tmp_path / "r",
    )
    for place in (url, other):
        filled(place, "s", root)
        optuna.delete_study(study_name="s", storage=open_storage(place))
    assert orphans(url, root) == []  # a new study's maker may not have said yet that it is its
    age(root)
    assert orphans(url, root) == [("s", True, 8)]
    # the record is checked: it can't be made to name this storage for another one's folder
    for owner in root.glob("study-*/owner.json"):
        told = msgspec.json.decode(owner.read_bytes())
        owner.write_bytes(msgspec.json.encode(told | {"study": "t"}))
    assert orphans(url, root) == []
    for owner in root.glob("study-*/owner.json"):
        owner.unlink()
    assert orphans(url, root) == []


def test_of_a_study_that_lives_only_what_no_trial_names_goes(tmp_path: Path) -> None:
    url, root = f"journal:///{tmp_path}/a.log", tmp_path / "artifacts"
    study = filled(url, "s")
    (folder,) = root.glob("study-*")
    (folder / f"weights-{'0' * 32}.safetensors").write_bytes(b"x")
    (folder / f"checkpoint-{'0' * 32}-1.json").write_bytes(b"x")
    before = files(root)
    age(root)
    assert orphans(url, root) == [("s", False, 2)]
    (found,) = unreferenced(open_storage(url), listing(str(root)), time.time())
    asked = study.ask()
    assert orphans(url, root) == []  # in training: its worker may be about to name them
    study.tell(asked, state=TrialState.FAIL)
    remove(str(root), found.items)
    assert before - files(root) == {item.key for item in found.items}
    study.set_user_attr(names.ARTIFACTS_TOKEN, 5)  # can't be read: all may be its own
    assert orphans(url, root) == []


class Clock:
    """Time that passes by sleeping; what else happens meanwhile is `then`."""

    def __init__(self, then: Any = lambda: None) -> None:
        self.seconds, self.then = 0.0, then

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.then()


def leased(study: optuna.Study, worker: Worker) -> optuna.Trial:
    trial = study.ask()
    trial.set_user_attr(names.LEASE, {"beat": 1})
    trial.set_user_attr(names.WORKER, msgspec.to_builtins(worker))
    return trial


def test_a_study_is_refused_while_a_lease_is_alive() -> None:
    study, said = optuna.create_study(study_name="s"), list[tuple[int, float]]()

    def check(clock: Clock) -> None:
        refuse_if_worked_on(study, lambda *told: said.append(told), sleep=clock.sleep, clock=clock)

    check(Clock())
    mine = leased(study, Worker.here())
    with pytest.raises(StudyError, match=r"`study` 's' is being worked on \(process \d+ on "):
        check(Clock())
    study.tell(mine, 1.0)
    dead = leased(study, Worker(socket.gethostname(), 1 << 22, "", Worker.here().space))
    check(Clock())  # its process is gone
    study.tell(dead, 1.0)
    assert said == []
    far = leased(study, Worker("elsewhere", 1, ""))
    silent = Clock()
    check(silent)
    assert said == [(1, 60.0)]
    assert 60.0 <= silent.seconds < 70.0
    beats = iter(range(2, 99))
    heard = Clock(lambda: far.set_user_attr(names.LEASE, {"beat": next(beats)}))
    with pytest.raises(StudyError, match="process 1 on elsewhere"):
        check(heard)
    assert heard.seconds < 10.0


class Pages:
    """What boto3's client says of objects: two pages."""

    def get_paginator(self, name: str) -> Pages:
        assert name == "list_objects_v2"
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        assert (Bucket, Prefix) == ("mine", "runs/")
        when = datetime(2026, 1, 1, tzinfo=UTC)
        names = (f"runs/study-{'0' * 32}/token", "runs/picture")
        return [{"Contents": [{"Key": n, "Size": 7, "LastModified": when}]} for n in names]


def test_a_bucket_is_listed_below_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    boto3 = pytest.importorskip("boto3")
    monkeypatch.setattr(boto3, "client", lambda kind: Pages())
    when = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    there = listing("s3://mine/runs/")
    assert there.pictures == {"picture": Item("picture", 7, when)}
    assert there.folders == {"0" * 32: [Item(f"study-{'0' * 32}/token", 7, when)]}


def test_a_store_that_can_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(StudyError, match=r"`artifacts` '.*' can't be listed: Permission denied\."):
        listing(str(tmp_path))


def test_files_that_can_not_be_removed_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = filled(f"journal:///{tmp_path}/s.log", "s")

    def refuse(store: object, key: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(artifacts, "drop", refuse)
    (line,) = delete_study(study, held(study))
    assert line.startswith("8 files of ")
    assert line.endswith("could not be removed (Permission denied): nfopt clean removes them")
