"""What in a store of artifacts is whose: each study's mark, on its folder and on its pictures.

    STORE/study-MARK/        token, owner.json, weights, checkpoints
    STORE/0f3c...-...        a picture: its name is a UUID of which one half follows from the other
                             and the mark

A mark is a digest of the study's name and its token, so a study can name neither the folder nor the
pictures of another one. Pictures lie beside the folders, where optuna-dashboard looks for them.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import uuid
from pathlib import Path

import msgspec
from sqlalchemy.engine import make_url

from nfopt.storage.url import Storage, address, url_of

S3 = "s3://"
TOKEN, OWNER = "token", "owner.json"
HALF = 8  # bytes of a UUID that are drawn; the others follow
FOLDER = re.compile(r"study-([0-9a-f]{32})")
WRITTEN = re.compile(  # what a study's folder holds, also where its writing was cut off
    r"(?:token|owner\.json|weights-[0-9a-f]{32}\.safetensors"
    r"|checkpoint-[0-9a-f]{32}-[01]\.(?:json|safetensors))"
)
UNFINISHED = re.compile(rf"\.{WRITTEN.pattern}\.\d+")


class Owner(msgspec.Struct, frozen=True):
    """Who made a study's folder, as it stands in the folder.

    Attributes:
        study: Name of the study.
        storage: That it is in, see `home_of`.
    """

    study: str
    storage: str


def mark_of(study: str, token: str) -> str:
    """Give the mark of a study, 32 hexadecimal digits."""
    return hashlib.sha256(f"{study}\0{token}".encode()).hexdigest()[:32]


def new_picture(mark: str | None) -> str:
    """Draw a name for a picture; without a mark, one that says nothing of whose it is."""
    if mark is None:
        return str(uuid.uuid4())
    half = secrets.token_bytes(HALF)
    return str(uuid.UUID(bytes=half + _follows(half, mark)))


def is_picture(key: str, mark: str) -> bool:
    """Say whether a name is that of a picture of the study with a mark."""
    try:
        name = uuid.UUID(key)
    except ValueError:
        return False
    return str(name) == key and name.bytes[HALF:] == _follows(name.bytes[:HALF], mark)


def _follows(half: bytes, mark: str) -> bytes:
    return hashlib.sha256(mark.encode() + half).digest()[: 16 - HALF]


def home_of(storage: Storage | None, root: str) -> str | None:
    """Name a storage as the folders in a store of artifacts do; None for one in memory.

    A file is named by its way from the store, so that both can be moved together; a server by its
    host, port and database, without user and password.

    Args:
        storage: A URL, an open storage, or None for the default.
        root: Of the artifacts, a folder or a place in S3.
    """
    url = url_of(storage)
    if url is None:
        return None
    place = address(url)
    if place.path is not None:
        path = place.path.resolve()
        way = path.as_posix() if root.startswith(S3) else _way(path, Path(root).resolve())
        return f"{place.kind}:{way}"
    if place.kind == "grpc":
        return f"grpc://{place.host}:{place.port}"
    if place.kind == "sqlite":  # in memory
        return None
    server = make_url(place.url)
    host = server.host or server.query.get("host", "")  # the latter: the folder of a socket
    port = "" if server.port is None else f":{server.port}"
    return f"{server.get_backend_name()}://{host}{port}/{server.database or ''}"


def _way(path: Path, root: Path) -> str:
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # Windows: on another drive
        return path.as_posix()
