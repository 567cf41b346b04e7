"""What lies in a store of artifacts: whose it is, how large, and what nobody refers to.

    there = listing(root)                     files with sizes
    held(study).bytes()                       of one study
    unreferenced(storage, there, now)         of none

A file is a study's by its place and name alone, never because somebody's attribute names it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna.storages import BaseStorage

from nfopt import attributes as names
from nfopt import optuna_internals as raw
from nfopt.distributed import artifacts
from nfopt.distributed.checkpoints import ENDINGS, SLOTS, key
from nfopt.distributed.ownership import (
    FOLDER,
    OWNER,
    S3,
    TOKEN,
    UNFINISHED,
    WRITTEN,
    Owner,
    home_of,
    is_picture,
    mark_of,
)
from nfopt.errors import StudyError
from nfopt.stored import SET_ASIDE, attributes_of, trials_of

ATTACHED = "artifacts:"  # prefix of the attribute by which Optuna attaches an artifact
SETTLED = 3600.0  # seconds after which what was written is referred to, if it ever is
KINDS = ("weights", "checkpoints", "pictures", "other")


@dataclass(frozen=True)
class Item:
    """A file in the store.

    Attributes:
        key: Its name there, with its folder: "study-MARK/token", or a picture's alone.
        bytes: Its size.
        modified: When it was written, in seconds since 1970.
    """

    key: str
    bytes: int
    modified: float

    @property
    def mark(self) -> str | None:
        """The mark of the study in whose folder it is, or None."""
        folder = FOLDER.fullmatch(self.key.partition("/")[0])
        return folder[1] if folder and "/" in self.key else None

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        name = self.key.rpartition("/")[2].lstrip(".")
        if "/" not in self.key:
            return "pictures"
        if name.startswith("weights-"):
            return "weights"
        return "checkpoints" if name.startswith("checkpoint-") else "other"


@dataclass(frozen=True)
class Listing:
    """What is in a store.

    Attributes:
        root: The store.
        pictures: Files beside the folders, by their names.
        folders: Files that a study writes into its folder, by its mark.
    """

    root: str
    pictures: dict[str, Item]
    folders: dict[str, list[Item]]

    @classmethod
    def of(cls, root: str, items: Iterable[Item]) -> Listing:
        """Sort files by what they are; what nfopt does not write into a folder is left out."""
        pictures, folders = dict[str, Item](), dict[str, list[Item]]()
        for item in sorted(items, key=lambda item: item.key):
            name = item.key.rpartition("/")[2]
            if item.mark is None:
                pictures[item.key] = item
            elif WRITTEN.fullmatch(name) or UNFINISHED.fullmatch(name):
                folders.setdefault(item.mark, []).append(item)
        return cls(root, pictures, folders)

    def of_mark(self, mark: str) -> list[Item]:
        """List all that the study with a mark wrote."""
        pictures = [item for key, item in self.pictures.items() if is_picture(key, mark)]
        return [*self.folders.get(mark, ()), *pictures]


def listing(root: str) -> Listing:
    """List a store: the files in it and in the folders of studies; links are not followed.

    Raises:
        StudyError: If it can't be read; one line.
    """
    try:
        return Listing.of(root, _objects(root) if root.startswith(S3) else _files(Path(root)))
    except artifacts.failures() as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise StudyError(f"`artifacts` {root!r} can't be listed: {why}.") from None


def _files(root: Path) -> Iterator[Item]:
    if not root.is_dir():
        return
    for entry in os.scandir(root):
        if FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            for inner in os.scandir(entry.path):
                yield from _item(inner, f"{entry.name}/")
        else:
            yield from _item(entry, "")


def _item(entry: os.DirEntry[str], before: str) -> Iterator[Item]:
    with suppress(FileNotFoundError):  # removed meanwhile
        if entry.is_file(follow_symlinks=False):
            about = entry.stat(follow_symlinks=False)
            yield Item(before + entry.name, about.st_size, about.st_mtime)


def _objects(root: str) -> Iterator[Item]:
    bucket, prefix = artifacts.bucket_of(root)
    artifacts.artifact_store(root)  # says in one line if boto3 is not there
    client: Any = sys.modules["boto3"].client("s3")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Contents", ()):
            key = one["Key"].removeprefix(prefix)
            yield Item(key, int(one["Size"]), one["LastModified"].timestamp())


@dataclass(frozen=True)
class Held:
    """What a study has in its store.

    Attributes:
        root: The store; None: it has none.
        own: What it wrote, by its mark.
        named: Pictures that it names and that do not have its mark: of an older nfopt, or uploaded
            by hand. Nothing tells that no other study has them.
        elsewhere: Where the study says that its artifacts are, if they are not in `root`.
        maker: The storage that its folder was made for, if that is another one: a study there may
            have the folder, so all of it is in `named`.
    """

    root: str | None
    own: tuple[Item, ...] = ()
    named: tuple[Item, ...] = ()
    elsewhere: str | None = None
    maker: str | None = None

    def bytes(self, kind: str | None = None) -> int:
        """Add up the sizes, of one of `KINDS` or of all."""
        items = (*self.own, *self.named)
        return sum(item.bytes for item in items if kind in (None, item.kind))


def held(study: optuna.Study, there: Listing | None = None) -> Held:
    """Find what a study has in its store.

    Args:
        study: The study.
        there: What is in the store; None: in the study's, as this process knows it.

    Raises:
        StudyError: If the store can't be listed.
    """
    root, mark = artifacts.root_of(study), artifacts.mark(study)
    if there is None and root is None:
        return Held(None)
    there = listing(str(root)) if there is None else there
    attached = [there.pictures[key] for key in _attached(study) if key in there.pictures]
    own = [] if mark is None else [item for item in attached if is_picture(item.key, mark)]
    named = [item for item in attached if mark is None or not is_picture(item.key, mark)]
    folder = [] if mark is None else there.folders.get(mark, [])
    if mark is None or not folder:
        known = attributes_of(study).get(names.ARTIFACTS)
        return Held(there.root, tuple(own), tuple(named), None if mark is None else str(known))
    owner = owner_of(there, mark)
    if owner is not None and owner.storage != home_of(raw.storage_of(study), there.root):
        return Held(there.root, (), (*folder, *own, *named), maker=owner.storage)
    return Held(there.root, (*folder, *own), tuple(named))


def _attached(study: optuna.Study) -> list[str]:
    """List the ids of all files that Optuna says are attached to a study and its trials."""
    # also to trials that are set aside, whatever is wrong with them
    told = [
        raw.system_attributes_of(study),
        *(trial.system_attrs for trial in raw.trials_of(study)),
    ]
    keys = (key for attributes in told for key in attributes if key.startswith(ATTACHED))
    return sorted({key.removeprefix(ATTACHED) for key in keys})


@dataclass(frozen=True)
class Unreferenced:
    """What no study refers to any more.

    Attributes:
        study: That wrote it, by the record in its folder.
        deleted: There is no such study; else it is there, and refers to other files of its.
        items: The files.
    """

    study: str
    deleted: bool
    items: tuple[Item, ...]

    @property
    def bytes(self) -> int:
        """Their sizes, added up."""
        return sum(item.bytes for item in self.items)


def unreferenced(storage: BaseStorage, there: Listing, now: float) -> list[Unreferenced]:
    """Find what was written for studies of a storage and is referred to by none of them.

    Args:
        storage: Whose studies are read here.
        there: What is in the store, listed before, so that nothing that a worker has written
            meanwhile is among it.
        now: Seconds since 1970; what was written in the hour before is left out, as a worker
            writes first and refers to it afterwards.

    Returns:
        By study; never what another storage's study wrote, or what has no record of its own.
    """
    home, studies = home_of(storage, there.root), optuna.get_all_study_names(storage)
    found = []
    for mark in there.folders:
        owner = owner_of(there, mark)
        if home is None or owner is None or owner.storage != home:
            continue
        own, deleted = there.of_mark(mark), owner.study not in studies
        if not deleted:
            study = optuna.load_study(study_name=owner.study, storage=storage)
            try:
                deleted = artifacts.mark(study) != mark
                own = own if deleted else _not_named(study, own)
            except StudyError:  # it can't be read, so all may be its own
                continue
        old = [item for item in own if now - item.modified > SETTLED]
        if old and (len(old) == len(own) or not deleted):
            found.append(Unreferenced(owner.study, deleted, tuple(old)))
    return found


def owner_of(there: Listing, mark: str) -> Owner | None:
    """Read who made a study's folder; None without a record, or with one that is not sound."""
    store = artifacts.artifact_store(there.root)
    try:
        told = artifacts.get(store, f"study-{mark}/{OWNER}")
        token = artifacts.get(store, f"study-{mark}/{TOKEN}").decode()
        owner = msgspec.json.decode(told, type=Owner)
    except artifacts.failures(ValueError, msgspec.MsgspecError):
        return None
    return owner if mark_of(owner.study, token) == mark else None


def _not_named(study: optuna.Study, own: Sequence[Item]) -> list[Item]:
    """Weights and checkpoints that no trial names; none as long as something is in training."""
    trials, named = trials_of(study), set[str]()
    for trial in trials:
        aside = str(trial.user_attrs.get(names.REASON, "")).startswith(SET_ASIDE)
        if aside or not trial.state.is_finished():
            return []
        named.add(str(trial.user_attrs.get(names.WEIGHTS)))
        pointer = trial.user_attrs.get(names.CHECKPOINT) or {}
        tokens = [pointer[key] for key in ("token", "next") if key in pointer]
        named |= {key(token, slot, end) for token in tokens for slot in SLOTS for end in ENDINGS}
    return [
        item
        for item in own
        if item.kind in ("weights", "checkpoints") and item.key.rpartition("/")[2] not in named
    ]
