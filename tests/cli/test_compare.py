"""`nfopt compare` with rivals that fit in no time: table, JSON, picture, what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from compare.toys import ABSENT, BROKEN, rival

from nfopt.cli import run

RIVALS = (rival("own", ours=True), rival("peer", shift=0.5), ABSENT, BROKEN)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    np.savetxt(tmp_path / "data.csv", rng.normal(size=(300, 3)), delimiter=",", header="a,b,c")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nfopt.compare.run.RIVALS", RIVALS)
    return tmp_path


def test_people_read_a_table(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "data.csv", "--minutes", "0.1", "--plot", "data.png"]) == 0
    out, err = capfd.readouterr()
    names = [line.split()[0] for line in out.splitlines() if line.split()]
    at = [names.index(name) for name in ("own", "peer", "absent", "broken")]
    assert at == sorted(at)
    assert "not installed: no_such_package_anywhere" in out
    assert "best peer peer" in out
    assert "own: toy own" in err
    assert "broken: left out, no luck" in err
    assert "foundation models are not compared" in err
    assert sorted(path.name for path in home.iterdir()) == ["data.csv", "data.png"]


def test_programs_read_json(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "data.csv", "--methods", "peer,own", "--seed", "1", "--json"]
    assert run([*words, "--minutes", "0.5"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [row["method"] for row in found["rows"]] == ["own", "peer"]
    assert found["seconds_each"] == 30.0
    assert found["best"] == "own"
    assert found["rows"][1]["behind"] > 0
