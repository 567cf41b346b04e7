"""What there is time for after training, by a clock that a test sets."""

from __future__ import annotations

from nfopt.events import Closing


def test_what_fits_is_done_and_the_rest_is_said_and_counted() -> None:
    now, said = [0.0], list[str]()
    closing = Closing(10.0, said.append, lambda: now[0])
    assert closing.fits("a picture", 9.0)
    now[0] = 2.0
    assert not closing.fits("a picture", 9.0)
    now[0] = 11.0
    assert not closing.fits("a number")
    assert closing.left_out == ["a picture", "a number"]
    assert said == [f"{what} is left out: there is no time for it" for what in
                    ("a picture", "a number")]  # fmt: skip


def test_without_a_limit_everything_fits() -> None:
    closing = Closing()
    assert closing.fits("all of it", 1e9)
    assert closing.left_out == []
