"""What a page is told from a storage and from the folder of a flow, and what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nfopt import attributes as names
from nfopt.report.page import facts_of_study, html_page
from nfopt.report.page.facts import read_delivered
from report.toys import kept, study, table

DATA = table()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    kept(DATA).save("nfopt-runs/toy")
    return Path("nfopt-runs/toy")


def toy(**delivered: object) -> Any:
    found = study(DATA)
    described = {**found.user_attrs[names.DATA], "fingerprint": DATA.fingerprint}
    found.set_user_attr(names.DATA, described)
    if delivered:
        found.set_user_attr(names.DELIVERED, delivered)
    return found


def test_a_description_is_read_without_the_weights(home: Path) -> None:
    (home / "flow.safetensors").unlink()
    found = read_delivered(home, DATA.fingerprint)
    assert found.shares == [0.75, 0.25]
    assert found.number("test_nll", of="scores") == 4.25
    assert found.number("name") is None
    assert found.each("steps", int) == [300, 400]
    assert found.each("steps", str) == [None, None]
    assert found.each("nothing", int) == [None, None]


@pytest.mark.parametrize(
    "change",
    [
        {"members": []}, {"members": [{"features": 0}]}, {"shares": [1.0]}, {"shares": ["x", "y"]},
        {"info": 3}, {"members": None},
    ],
)  # fmt: skip
def test_a_broken_description_is_one_line(home: Path, change: dict[str, object]) -> None:
    path = home / "flow.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match="can't be read as a flow: ") as caught:
        read_delivered(home)
    assert "\n" not in str(caught.value)


def test_a_flow_of_other_data_is_not_the_studys(home: Path) -> None:
    with pytest.raises(ValueError, match="other data"):
        read_delivered(home, "f" * 64)


def test_the_flow_is_found_and_its_table_is_asked_for(home: Path) -> None:
    facts = facts_of_study(toy())
    assert facts.delivered is not None
    assert facts.flow is None
    assert "`data` must be given" in facts.missing
    page = html_page(facts)
    assert "-4.250" in page
    assert "Not drawn: `data` must be given" in page
    drawn = facts_of_study(toy(), data=DATA)
    assert drawn.flow is not None
    assert drawn.data is DATA
    assert drawn.missing == ""


def test_a_storage_names_no_folder_outside(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}-outside"
    home.rename(elsewhere)
    facts = facts_of_study(toy(out=str(elsewhere), test_nll=4.25, test_nll_2se=0.06, members=2))
    assert facts.delivered is None
    page = html_page(facts)
    assert "-4.250 ± 0.060" in page
    assert f"{elsewhere} (not read here)" in page
    given = facts_of_study(toy(), model=elsewhere)
    assert given.delivered is not None


def test_a_model_that_is_given_must_be_the_studys(home: Path) -> None:
    with pytest.raises(ValueError, match="`model` 'nowhere' can't be read"):
        facts_of_study(toy(), model=Path("nowhere"))
