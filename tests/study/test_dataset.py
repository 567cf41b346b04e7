"""Data that knows where it came from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_study import table

from nfopt import attributes as names
from nfopt.errors import DataError, StudyError
from nfopt.study.dataset import read, read_again


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "events.csv"
    pd.DataFrame(table(), columns=["a", "b", "c"]).to_csv(path, index=False)
    return path


def again(described: dict[str, object], source: object = None) -> str:
    stored = json.loads(json.dumps(described))
    return read_again({names.DATA: stored}, source).data.fingerprint


def test_a_file_is_found_again(path: Path) -> None:
    options = {"context": ["a"], "bounds": {"b": (-100, None)}, "dequantise": False}
    source = read(path, split="blocked", seed=4, **options)
    assert source.name == "events"
    assert source.described["source"] == str(path)
    assert source.described["options"]["context"] == ["a"]
    assert source.described["rows"] == [240, 30, 30]
    assert again(source.described) == source.data.fingerprint
    assert again(source.described, path) == source.data.fingerprint


def test_a_path_that_the_study_names_is_read_below_the_working_folder_alone(
    path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = read(path)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    for place in (str(path), "../x.csv", "/dev/zero", "/etc/passwd", "x\0y", "~/x"):
        with pytest.raises(StudyError, match="`data`"):
            again({**source.described, "source": place})
        with pytest.raises(StudyError, match="`data`"):
            read_again({names.DATA: {**source.described, "source": None}, names.KEPT: place})
    assert again(source.described, path) == source.data.fingerprint


def test_a_named_data_set_is_found_again() -> None:
    source = read("moons:n=200", seed=1)
    assert source.described["source"] == "moons:n=200"
    assert again(source.described) == source.data.fingerprint


def test_memory_has_to_be_given_again() -> None:
    source = read(table(), seed=0)
    assert source.name == f"data-{source.data.fingerprint[:8]}"
    with pytest.raises(StudyError, match="`data` must be given"):
        again(source.described)
    assert again(source.described, table()) == source.data.fingerprint
    assert again(source.described, source) == source.data.fingerprint
    with pytest.raises(StudyError, match="not what the study was made with"):
        again(source.described, table(seed=1))


def test_a_file_that_changed_is_refused(path: Path) -> None:
    source = read(path, seed=0)
    frame = pd.read_csv(path)
    frame.loc[3, "a"] += 1e-6
    frame.to_csv(path, index=False)
    with pytest.raises(StudyError, match="fingerprint"):
        again(source.described)
    path.unlink()
    with pytest.raises(DataError):
        again(source.described)


def test_an_array_among_the_options_is_no_option_of_the_file(path: Path) -> None:
    source = read(path, weights=np.ones(300), seed=0)
    assert source.described["source"] is None
    json.dumps(source.described)


def test_an_unknown_option() -> None:
    with pytest.raises(TypeError, match="`colums` is no option"):
        read(table(), colums=["a"])
