"""Pictures of masks, learning curves and samples: what is in them, at any number of columns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nfopt.report.canvas import Canvas, short, width_of
from nfopt.report.corner import chosen_columns, corner_png, distances, most_dependent
from nfopt.report.curve import curve_png
from nfopt.report.masks import EDGE, SHADES, masks_png
from nfopt.spec import LU, Autoregressive, Coupling, Elementwise, FlowSpec, Permutation, Planar

from .toys import COLUMNS, flow, pixels, share


def names(count: int) -> list[str]:
    return [f"column {place}" for place in range(count)]


def test_cells_and_words_are_where_they_belong() -> None:
    canvas = Canvas(2.0, 1.0)
    canvas.cells(0.5, 0.25, 1.0, 0.5, [[(1, 0, 0), (0, 1, 0)], [(0, 0, 1), (0, 0, 0)]])
    canvas.words(["■"], 1.9, 0.9, size=8, colour="#00ffff")
    found = pixels(canvas.png())
    height, width = found.shape[:2]
    assert (width, height) == (220, 110)
    at = {(0.6, 0.7): (255, 0, 0), (1.4, 0.7): (0, 255, 0), (0.6, 0.3): (0, 0, 255)}
    for (x, y), colour in at.items():
        assert tuple(found[height - round(y * 110), round(x * 110)]) == colour
    assert tuple(found[height - 99, 209]) == (0, 255, 255)
    assert (found[:, :40] == 255).all()


@pytest.mark.parametrize("features", [2, 10, 64])
def test_a_masks_letters_are_counted_in_its_colours(features: int) -> None:
    mask = ("CT" * features)[:features]
    few = masks_png(FlowSpec(features=features, layers=(Coupling(mask=mask),)), names(features))
    for letter in "CT":
        assert share(few, SHADES[letter]) > 0.005
    assert share(few, SHADES["I"]) < 0.002  # edges of letters
    twice = (Coupling(mask=mask), Coupling(mask=mask.translate(str.maketrans("CT", "TC"))))
    more = masks_png(FlowSpec(features=features, layers=twice), names(features))
    assert pixels(more).shape[0] > pixels(few).shape[0]
    assert pixels(more).shape[1] == pixels(few).shape[1] <= 1700


def test_a_thousand_columns_have_colours_only() -> None:
    mask = "CTI" * 341 + "C"
    picture = masks_png(FlowSpec(features=1024, layers=(Coupling(mask=mask),)), names(1024))
    height, width, _ = pixels(picture).shape
    assert height < 300 < width < 3000
    assert all(share(picture, SHADES[letter]) > 0.005 for letter in "CTI")


def test_every_kind_of_layer_is_drawn() -> None:
    layers = (
        LU(),
        Planar(),
        Permutation(order=(1, 0, 3, 2)),
        Elementwise(),
        Autoregressive(order=(2, 0, 1, 3)),
        Autoregressive(parents=((), (0,), (), ())),
        Autoregressive(parents=((), (0,), (), ())),
    )
    picture = masks_png(FlowSpec(features=4, layers=layers), COLUMNS)
    assert share(picture, SHADES["T"]) > 0
    dark = share(picture, EDGE)
    denser = (*layers[:-1], Autoregressive(parents=((), (0,), (0, 1), (0, 1, 2))))
    assert dark > 0
    assert share(masks_png(FlowSpec(features=4, layers=denser), COLUMNS), EDGE) > dark


def test_pictures_repeat_to_the_byte_and_need_no_layer() -> None:
    assert masks_png(flow(), COLUMNS) == masks_png(flow(), COLUMNS)
    assert masks_png(flow(), COLUMNS) != masks_png(flow(1), COLUMNS)
    assert len(masks_png(FlowSpec(features=2), ["a", "b"])) > 500


@pytest.mark.parametrize("name", ["$x^2$", "$unclosed", "\\frac{", "a\nb", "日本", "", "%s{}"])
def test_any_name_can_be_written(name: str) -> None:
    assert width_of(short(name)) >= 0
    columns = [name, "b", "c", "d"]
    masks_png(flow(), columns)
    rows = np.random.default_rng(0).normal(size=(50, 4))
    corner_png(rows, rows, columns, title=name)


def test_a_long_name_is_cut() -> None:
    assert short("x" * 80, 10) == "x" * 9 + "…"
    assert short("a\x1b[31m\n") == "a?[31m?"


@pytest.mark.parametrize(
    "curve",
    [
        [],
        [(1.0, math.nan)],
        [(10.0, -3.25)],
        [(10.0 * k, 1e6 if k < 2 else 5.0 / k) for k in range(1, 30)],
        [(10.0 * k, 4.0) for k in range(1, 30)],
    ],
)
def test_any_curve_is_drawn(curve: list[tuple[float, float]]) -> None:
    rungs = {25: 1.0, 50: 0.5} if curve else {}
    picture = curve_png(curve, title="Trial 1", rungs=rungs, ended="pruned at 50%")
    assert pixels(picture).std() > 5


def test_a_better_curve_is_another_picture() -> None:
    points = [(10.0 * k, 5.0 / k) for k in range(1, 30)]
    again = [(step, nll - 0.1 * math.sqrt(step)) for step, nll in points]
    assert curve_png(points, title="1") != curve_png(again, title="1")


def test_the_columns_that_depend_most_are_chosen() -> None:
    values = np.random.default_rng(0).normal(size=(2000, 12))
    values[:, 9] = values[:, 2] ** 2 + 0.1 * values[:, 9]
    values[:, 4] = values[:, 9] + 0.3 * values[:, 4]
    assert most_dependent(values, 3) == (2, 4, 9)
    assert most_dependent(values[:, :3], 8) == (0, 1, 2)


def test_samples_that_miss_the_data_show() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(1000, 2))
    data[:, 1] += 2 * data[:, 0]
    same = pixels(corner_png(data, data, ["a", "b"], title=""))
    off = pixels(corner_png(data, data[:, ::-1] * [1, -1], ["a", "b"], title=""))
    changed = (same != off).any(axis=2)
    assert changed.mean() > 0.02
    assert len(corner_png(data, np.full((5, 2), np.nan), ["a", "b"], title="")) > 500


def test_the_worst_fitted_columns_are_chosen_too() -> None:
    rng = np.random.default_rng(0)
    data, samples = rng.normal(size=(2, 2000, 12))
    data[:, 9] = data[:, 2] ** 2 + 0.1 * data[:, 9]
    samples[:, 9], samples[:, 5] = data[::-1, 9], 2.0 * samples[:, 5]
    assert chosen_columns(data, samples, 3) == (2, 5, 9)
    assert chosen_columns(data, samples[:0], 2) == most_dependent(data, 2)
    assert chosen_columns(data[:, :3], samples[:, :3], 3) == (0, 1, 2)


def test_the_distance_of_two_columns_counts_ties_once() -> None:
    data = np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 3.0], [1.0, 4.0]])
    samples = np.array([[0.0, 3.5], [1.0, 4.0], [1.0, 5.0], [1.0, 6.0]])
    np.testing.assert_allclose(distances(data, samples), [0.25, 0.75])
