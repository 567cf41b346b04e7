"""Names that a spreadsheet would take for formulas are escaped in CSV, and understood again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nfopt.cli.failures import run as ended
from nfopt.cli.output import write_rows
from nfopt.data import Preprocessing, load_rows
from nfopt.data.wording import escaped_name
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.spec import FlowSpec

NAMES = ("=HYPERLINK(1)", "'=HYPERLINK(1)", "+a", "-b", "@c", "plain", "'quoted'")
VALUES = np.random.default_rng(0).normal(size=(60, len(NAMES)))


@pytest.mark.parametrize("raw_names", [False, True])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_written_is_read_by_the_same_names(
    raw_names: bool, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"t.{ending}"
    write_rows(VALUES, NAMES, path, raw_names=raw_names)
    np.testing.assert_array_equal(load_rows(path, columns=NAMES)[0], VALUES)
    for at in (0, 2, 5):  # some of them, in another order
        some = (NAMES[5], NAMES[at])
        np.testing.assert_array_equal(load_rows(path, columns=some[1:])[0], VALUES[:, [at]])
    if ending == "csv":
        first = path.read_text().splitlines()[0]
        assert first.startswith("=HYPERLINK(1),'=H" if raw_names else "'=HYPERLINK(1),''=H")


def test_only_formulas_are_escaped_and_no_two_names_become_one() -> None:
    assert [escaped_name(name) for name in ("a", "'a", "", "a=b", "1")] == [
        *("a", "'a", "", "a=b", "1")
    ]
    many = [*NAMES, "''=HYPERLINK(1)", "\t=a", "\r=a"]
    written = [escaped_name(name) for name in many]
    assert len(set(written)) == len(many)
    assert [name for name in written if name[:1] in tuple("=+-@\t\r")] == []


def test_sample_and_score_agree_on_the_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from nfopt.cli.app import app

    (stack,) = build([FlowSpec(features=2)], torch.Generator().manual_seed(0))
    flow = Flow.of(stack, Preprocessing.fit(VALUES[:, :2], ["=a", "@b"]))
    flow.save(tmp_path / "model")
    for flags, header in (([], "'=a,'@b"), (["--raw-names"], "=a,@b")):
        out = str(tmp_path / "new.csv")
        words = ["sample", str(tmp_path / "model"), "--rows", "5", "--out", out, *flags]
        assert ended(lambda words=words: app(words, standalone_mode=False), words) == 0
        assert Path(out).read_text().splitlines()[0] == header
        words = ["score", str(tmp_path / "model"), out]
        assert ended(lambda words=words: app(words, standalone_mode=False), words) == 0
        assert len(capsys.readouterr().out.splitlines()) == 6
