"""The figures as SVG: every point of a figure, on the axis it has."""

from __future__ import annotations

import re

import pytest

from nfopt.report import figures
from nfopt.report.page.svg import HEIGHT, LEFT, WIDTH, chart
from nfopt.report.rows import Row
from nfopt.spec import FlowSpec
from report.toys import COLUMNS, flow

ROWS = [Row(number, "COMPLETE", 5.0 - number, 10**number, 2.0) for number in range(1, 5)]


def circles(drawn: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.-]+)"', drawn)]


def test_a_figure_has_its_points_its_line_and_its_words() -> None:
    drawn = chart(figures.best_by_trials(ROWS))
    points = circles(drawn)
    assert len(points) == 4 + 5  # trials, and the best so far with its end
    x, y = zip(*points[:4], strict=True)
    assert list(x) == sorted(x)
    assert list(y) == sorted(y)  # a lower NLL is further down
    assert "<title>trial 3: 2.0</title>" in drawn
    assert len(re.findall(r"H[\d.]+V[\d.]+", drawn)) == 4  # steps
    for said in ("Best so far, by trials", "trials ended", figures.NLL, "a trial"):
        assert said in drawn


def test_a_logarithmic_axis_is_one() -> None:
    drawn = chart(figures.pareto(ROWS))
    x = [point[0] for point in circles(drawn)[:4]]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert ">1,000</text>" in drawn


@pytest.mark.parametrize("rows", [[], ROWS[:1], [Row(0, "PRUNED", None, None, 1.0)]])
def test_few_trials_make_a_figure_too(rows: list[Row]) -> None:
    for figure in (figures.best_by_trials(rows), figures.pareto(rows)):
        drawn = chart(figure)
        assert drawn.startswith("<figure><svg")
        assert "nan" not in drawn
        assert "inf" not in drawn


def test_a_matrix_names_its_columns_once_escaped() -> None:
    drawn = chart(figures.coverage(flow(), COLUMNS, title="x"))
    assert "4: &lt;b&gt;</text>" in drawn
    assert "stands for" in drawn
    wide = FlowSpec(features=200, layers=flow().layers[1:2])
    many = chart(figures.coverage(wide, [f"c{k}" for k in range(200)], title="x"))
    assert "c0" not in many


def test_points_lie_in_the_picture() -> None:
    for x, y in circles(chart(figures.best_by_seconds(ROWS))):
        assert 0 <= x <= WIDTH - LEFT
        assert 0 <= y <= HEIGHT
