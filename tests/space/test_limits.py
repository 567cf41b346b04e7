from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nfopt.space import KEYS, KINDS, SearchSpace, parse_limits, read_limits
from nfopt.space.limits import check_limits

WRONG = {
    "unknown key": ("full", {"dept": 3}, "`dept` is no limit; did you mean `depth`?"),
    "nonsense key": ("full", {"zzz": 3}, "`zzz` is no limit; did you mean `"),
    "key of another kind": ("layers", {"idle": True}, "`idle` is no limit of kind 'layers', only"),
    "empty range": ("full", {"depth": [10, 1]}, r"`depth` is an empty range: \[10, 1\]; give"),
    "empty list": ("full", {"maps": []}, "`maps` is an empty list"),
    "three numbers": (
        "full",
        {"width": [1, 2, 3]},
        r"`width` must be \[least, greatest\] in whole",
    ),
    "fraction": ("full", {"width": 16.5}, "`width` must be .* whole numbers, or one, not 16.5"),
    "text": ("full", {"dropout": "much"}, "`dropout` must be .* in numbers, or one, not 'much'"),
    "truth": ("full", {"depth": True}, "`depth` must be .* not True"),
    "too far": ("full", {"bins": [1, 64]}, r"`bins` must be within 2 to 32, not \[1, 64\]"),
    "not a number": ("full", {"learning_rate": float("nan")}, "`learning_rate` must be within"),
    "unknown choice": ("full", {"maps": ["splin"]}, "not 'splin'; did you mean spline?"),
    "number as truth": ("full", {"residual": 1}, "`residual` must be among false, true, not 1"),
    "choice twice": ("full", {"maps": ["affine", "affine"]}, "`maps` names a choice twice"),
    "one of two": ("full", {"idle": [True, False]}, "`idle` must be a single one of false, true"),
    "batch of none": ("full", {"batch_size": [0]}, "`batch_size` must be whole numbers above 0"),
    "batch as text": ("full", {"batch_size": "big"}, "`batch_size` must be whole .* not 'big'"),
    "unknown kind": ("ful", {}, "`kind` must be coupling, .* not 'ful'; did you mean full?"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_in_one_line(case: str) -> None:
    kind, limits, says = WRONG[case]
    with pytest.raises(ValueError, match=says) as caught:
        check_limits(kind, limits)
    assert "\n" not in str(caught.value)


def test_single_values_are_ranges_and_lists_of_one() -> None:
    limits = check_limits("full", {"depth": 4, "maps": "affine", "dropout": 0, "idle": True})
    assert limits == {"depth": (4, 4), "maps": ("affine",), "dropout": (0.0, 0.0), "idle": (True,)}


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_pass_their_own_check(kind: str) -> None:
    defaults = {key: rule.default for key, rule in KEYS.items() if kind in rule.kinds}
    assert check_limits(kind, defaults) == defaults


def test_limits_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text('kind = "coupling"\ndepth = [1, 10]\nmaps = ["affine"]\nidle = true\n')
    assert read_limits(path) == {
        "kind": "coupling",
        "depth": [1, 10],
        "maps": ["affine"],
        "idle": True,
    }


def test_a_searched_order_needs_edges_and_no_other_orders() -> None:
    space = SearchSpace.create(3, 300, kind="adjacency", limits={"orders": "searched"})
    assert space.limits["edges"] == (True,)
    with pytest.raises(ValueError, match="`edges` can't be false where `orders` are searched"):
        SearchSpace.create(3, 300, limits={"orders": "searched", "edges": False})
    with pytest.raises(ValueError, match=r"`orders` must be of searched and .* alone .* given"):
        SearchSpace.create(3, 300, limits={"orders": ["searched", "given"]})


@pytest.mark.parametrize("content", [None, b"depth = [1,", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "space.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"`space` file .*space.toml' can't be read: ") as caught:
        read_limits(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        ("depth=[1, 4]", {"depth": [1, 4]}),
        ("depth = 3", {"depth": 3}),
        ("idle=true", {"idle": True}),
        ("maps=spline", {"maps": "spline"}),
        ("maps=spline,affine", {"maps": ["spline", "affine"]}),
        ("maps=[spline,affine]", {"maps": ["spline", "affine"]}),
        ('maps=["spline"]', {"maps": ["spline"]}),
        ("learning_rate=[1e-4,1e-2]", {"learning_rate": [1e-4, 1e-2]}),
    ],
)
def test_limits_from_a_command_line(line: str, limit: dict[str, Any]) -> None:
    assert parse_limits([line]) == limit


def test_a_limit_without_a_value_is_named() -> None:
    with pytest.raises(ValueError, match="`space` limit 'depth' must be written as key=value"):
        parse_limits(["depth"])
