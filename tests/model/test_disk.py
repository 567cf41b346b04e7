"""A flow on disk: saved, replaced, loaded, and one clear line where it is broken."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from nfopt.model import Flow

from .toys import affine, context_of, make_flow, spline, table


def test_saved_and_loaded_is_the_same_flow(flow: Flow, tmp_path: Path) -> None:
    flow.info |= {"name": "toy", "scores": {"validation_nll": 1.5}}
    home = flow.save(tmp_path / "deep" / "run")
    assert sorted(file.name for file in home.iterdir()) == ["flow.json", "flow.safetensors"]
    x, given = table(30), context_of(flow, 30)
    for path in (home, str(home), home / "flow.json", home / "flow.safetensors"):
        again = Flow.load(path)
        np.testing.assert_array_equal(again.log_prob(x, given), flow.log_prob(x, given))
    np.testing.assert_array_equal(
        again.sample(5, seed=0, context=[0.0, 0.0] if flow.context_columns else None),
        flow.sample(5, seed=0, context=[0.0, 0.0] if flow.context_columns else None),
    )
    assert again.specs == flow.specs
    assert again.preprocessing == flow.preprocessing
    assert again.info["scores"] == {"validation_nll": 1.5}
    assert again.info["versions"].keys() >= {"nfopt", "torch", "python"}
    assert repr(again) == repr(flow)


def test_bytes_and_text_are_the_same_flow(flow: Flow) -> None:
    flow.info["name"] = "toy"
    again = Flow.loads(*flow.dumps())
    x, given = table(30), context_of(flow, 30)
    np.testing.assert_array_equal(again.log_prob(x, given), flow.log_prob(x, given))
    assert again.info["name"] == "toy"
    weights, text = flow.dumps()
    for broken in ((weights[:-9], text), (weights, text[:-9])):
        with pytest.raises(ValueError, match=r"the state of a flow can't be read: [^\n]+$"):
            Flow.loads(*broken)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_who_may_read_it_follows_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        home = make_flow([spline()]).save(tmp_path)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in home.iterdir()} == {0o666 & ~umask}


def test_saving_again_replaces_the_flow_and_nothing_else(tmp_path: Path) -> None:
    make_flow([spline()]).save(tmp_path)
    (tmp_path / "report.html").write_text("mine")
    make_flow([affine()] * 2).save(tmp_path)
    assert Flow.load(tmp_path).specs == (affine(), affine())
    assert (tmp_path / "report.html").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_save_that_fails_leaves_the_old_flow(tmp_path: Path) -> None:
    flow = make_flow([spline()])
    flow.save(tmp_path)
    other = make_flow([affine()])
    other.info["wrong"] = object()
    with pytest.raises(TypeError):
        other.save(tmp_path)
    assert Flow.load(tmp_path).specs == flow.specs
    assert len(list(tmp_path.iterdir())) == 2


def test_a_save_cut_between_its_files_is_still_a_whole_flow(tmp_path: Path) -> None:
    make_flow([spline()]).save(tmp_path / "old")
    make_flow([affine()]).save(tmp_path / "new")
    (tmp_path / "new" / "flow.safetensors").replace(tmp_path / "old" / "flow.safetensors")
    assert Flow.load(tmp_path / "old").specs == (affine(),)


def edit(home: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the description in both of its places."""
    text = json.loads((home / "flow.json").read_text())
    change(text)
    (home / "flow.json").write_text(json.dumps(text))
    tensors = load_file(home / "flow.safetensors")
    save_file(tensors, home / "flow.safetensors", metadata={"flow.json": json.dumps(text)})


def drop_a_weight(home: Path) -> None:
    tensors = load_file(home / "flow.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, home / "flow.safetensors")


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no weights": (lambda home: (home / "flow.safetensors").unlink(), "safetensors is missing"),
    "no description": (lambda home: (home / "flow.json").unlink(), "flow.json is missing"),
    "not JSON": (lambda home: (home / "flow.json").write_text("{]"), "can't be read"),
    "other JSON": (lambda home: (home / "flow.json").write_text("[1]"), "can't be read"),
    "not text": (lambda home: (home / "flow.json").write_bytes(b"\xff\xfe\x00"), "can't be read"),
    "empty weights": (lambda home: (home / "flow.safetensors").write_bytes(b""), "can't be read"),
    "a later version": (lambda home: edit(home, lambda d: d.update(version=9)), "version 9"),
    "a later spec": (
        lambda home: edit(home, lambda d: d["members"][0].update(version=9)),
        "`version` 9",
    ),
    "an unknown field": (lambda home: edit(home, lambda d: d.update(more=1)), "more"),
    "an unknown layer": (
        lambda home: edit(home, lambda d: d["members"][0]["layers"][0].update(kind="x")),
        "can't be read",
    ),
    "another width": (
        lambda home: edit(home, lambda d: d["preprocessing"][0]["columns"].pop()),
        "can't be read",
    ),
    "a weight short": (drop_a_weight, "can't be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_flow_on_disk_is_one_clear_line(name: str, tmp_path: Path) -> None:
    damage, message = BROKEN[name]
    make_flow([affine()]).save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        Flow.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert repr(str(tmp_path)) in str(caught.value)


def test_a_path_that_does_not_exist_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`path` .*nowhere' holds no trained flow"):
        Flow.load(tmp_path / "nowhere")
