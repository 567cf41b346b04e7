"""HTML in which text is escaped unless it is known to be HTML.

    el("p", "a < b, ", el("b", "bold"), class_="note")  # <p class="note">a &lt; b, <b>bold</b></p>

Names come from data and storages that others write: whatever is a plain `str` is text.
"""

from __future__ import annotations

import base64
import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

EMPTY = ("br", "img", "meta")  # elements without an end
HIDDEN = ("Cc", "Cf", "Cs", "Co")  # controls, among them those that turn the direction of a text
KEPT = "\n\t"


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


NOTHING = Html()
Part = str | int | None  # None: nothing


def text(value: object) -> Html:
    """Escape text; controls, lone surrogates and their like become question marks."""
    shown = "".join(
        c if c in KEPT or unicodedata.category(c) not in HIDDEN else "?" for c in str(value)
    )
    return Html(html.escape(shown))


def joined(parts: Iterable[Part]) -> Html:
    """Put parts together, each escaped if it is no HTML."""
    return Html(
        "".join(p if isinstance(p, Html) else text(p) for p in parts if p is not None and p != "")
    )


def el(name: str, /, *inside: Part, **attributes: str | float) -> Html:
    """An element; `class_` is the attribute `class`, and other `_` in names are `-`."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items()
    )
    if name in EMPTY:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{joined(inside)}</{name}>")


def table(head: Mapping[str, type], rows: Iterable[Sequence[Part]]) -> Html:
    """A table; it scrolls alone where the page is narrow.

    Args:
        head: Names of the columns, and whether they hold numbers (int) or words (str).
        rows: Cells.
    """

    def line(kind: str, cells: Iterable[Part]) -> Html:
        pairs = zip(cells, head.values(), strict=True)
        return el("tr", *(el(kind, one, class_=of.__name__) for one, of in pairs))

    body = joined(line("td", row) for row in rows)
    return el("div", el("table", line("th", head), body), class_="wide", tabindex=0)


def pairs(rows: Iterable[tuple[str, Part]]) -> Html:
    """Labels and what they stand for."""
    return el("dl", *(joined([el("dt", label), el("dd", what)]) for label, what in rows))


def code(lines: str) -> Html:
    """Lines to copy."""
    return el("pre", el("code", lines), tabindex=0)


def picture(png: bytes, said: str, *caption: Part) -> Html:
    """A PNG in the page, with what it shows for those who can't see it."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    image = el("div", el("img", src=source, alt=said), class_="wide", tabindex=0)
    return el("figure", image, el("figcaption", *caption) if caption else None)


LEFT_OUT = el("p", "Left out: it did not fit into the time of the call.", class_="warning")
