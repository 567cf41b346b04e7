"""The picture of a comparison."""

from __future__ import annotations

from pathlib import Path

from nfopt.compare.plot import plot
from nfopt.compare.run import compare

from .toys import BROKEN, rival, table


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = list(compare(table(), [rival("a"), rival("b", holes=2), BROKEN], seconds=1.0))
    plot(rows, path)
    drawn = path.read_bytes()
    assert drawn.startswith(b"\x89PNG")
    plot([*rows, *compare(table(), [rival("c", shift=1.0)], seconds=1.0)], path)
    assert path.read_bytes() != drawn


def test_a_picture_without_any_result(tmp_path: Path) -> None:
    plot(list(compare(table(), [BROKEN], seconds=1.0)), tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()
