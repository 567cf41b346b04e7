"""A drawing surface in inches: coloured cells, lines and words, rendered by Agg to PNG.

    canvas = Canvas(6.0, 3.0)
    canvas.cells(0.5, 0.5, 2.0, 1.0, colours)
    canvas.words(["a", "b"], x, y, size=9)
    canvas.png()

There are no axes, and all words of one colour are one path, so that a picture with a thousand
letters takes milliseconds. `$` and other signs in a column's name are drawn literally.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Glyphs = tuple[NDArray[Any], NDArray[Any]]  # vertices in inches, codes of a path

# Okabe and Ito's colours, which colour-blind readers can tell apart
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
INK, GREY, PALE = "#1a1a1a", "#6b6b6b", "#d9d9d9"

DPI = 110
POINT = 1.0 / 72.0  # inches
CAPITAL = 0.73  # height of a capital letter, of the size of the font
LONGEST = 22  # letters of a name that are shown


def short(name: str, longest: int = LONGEST) -> str:
    """Shorten a long name; characters that can't be printed become question marks."""
    name = "".join(c if c.isprintable() else "?" for c in name)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def width_of(word: str, size: float = 9.0, *, bold: bool = False) -> float:
    """Measure a word, in inches."""
    points = _glyphs(word, size, bold)[0]
    return float(points[:, 0].max()) if len(points) else 0.0


class Canvas:
    """A white canvas; all positions are in inches from the lower left corner.

    Args:
        width: Inches.
        height: Inches.
    """

    def __init__(self, width: float, height: float) -> None:
        self._size = (max(1, round(width * DPI)), max(1, round(height * DPI)))
        self._image = np.full((self._size[1], self._size[0], 4), 255, dtype=np.uint8)
        self._filled: dict[str, list[Glyphs]] = {}  # by colour
        self._drawn: list[tuple[Glyphs, str, float]] = []

    def cells(
        self,
        left: float,
        bottom: float,
        width: float,
        height: float,
        colours: ArrayLike,
        *,
        apart: bool = False,
    ) -> None:
        """Fill a rectangle with cells, the first row on top.

        Args:
            left: Left edge of the rectangle.
            bottom: Its bottom edge.
            width: Its width.
            height: Its height.
            colours: RGB from 0 to 1, shape (rows, columns, 3).
            apart: Leave a thin white line between cells.
        """
        pixels = np.rint(np.asarray(colours, dtype=float) * 255).astype(np.uint8)
        x0, x1 = round(left * DPI), round((left + width) * DPI)
        y0, y1 = (round(self._size[1] - at * DPI) for at in (bottom + height, bottom))
        rows, columns = pixels.shape[:2]
        down = (np.arange(max(1, y1 - y0)) * rows) // max(1, y1 - y0)
        along = (np.arange(max(1, x1 - x0)) * columns) // max(1, x1 - x0)
        block = pixels[down][:, along]
        if apart:
            block[np.flatnonzero(np.diff(down)) + 1] = 255
            block[:, np.flatnonzero(np.diff(along)) + 1] = 255
        target = self._image[y0:y1, x0:x1, :3]
        target[...] = block[: target.shape[0], : target.shape[1]]

    def line(self, x: ArrayLike, y: ArrayLike, colour: str, width: float = 1.2) -> None:
        """Draw one line through points, shape (n,) each."""
        from matplotlib.path import Path

        points = np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)], axis=1)
        codes = np.full(len(points), Path.LINETO, dtype=np.uint8)
        codes[:1] = Path.MOVETO
        self._drawn.append(((points, codes), colour, width))

    def words(
        self,
        words: Sequence[str],
        x: ArrayLike,
        y: ArrayLike,
        *,
        size: float = 9.0,
        colour: str = INK,
        across: float = 0.5,
        bold: bool = False,
        rotation: float = 0.0,
    ) -> None:
        """Draw words, each with the middle of its capitals at the height y.

        Args:
            words: One a position.
            x: Positions, shape (n,) or a number.
            y: Positions, shape (n,) or a number.
            size: In points.
            colour: Of all words.
            across: Share of a word to the left of its position: 0, 0.5 or 1.
            bold: Of all words.
            rotation: Degrees, counter-clockwise, about the position.
        """
        angle = np.deg2rad(rotation)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        positions = np.stack(np.broadcast_arrays(x, y, np.zeros(len(words)))[:2], axis=1)
        for word, position in zip(words, positions, strict=True):
            points, codes = _glyphs(word, size, bold)
            if len(points):
                start = np.array([points[:, 0].max() * across, size * POINT * CAPITAL / 2])
                filled = self._filled.setdefault(colour, [])
                filled.append(((points - start) @ turn + position, codes))

    def png(self) -> bytes:
        """The canvas as PNG."""
        from matplotlib.backends import backend_agg
        from matplotlib.colors import to_rgba
        from matplotlib.path import Path
        from matplotlib.transforms import Affine2D
        from PIL import Image

        agg: Any = backend_agg.RendererAgg
        renderer = agg(*self._size, DPI)
        context = renderer.new_gc()
        renderer.draw_image(context, 0, 0, np.ascontiguousarray(self._image[::-1]))
        pixels = Affine2D().scale(DPI)
        for (points, codes), colour, width in self._drawn:
            context.set_foreground(to_rgba(colour), isRGBA=True)
            context.set_linewidth(width * POINT * DPI)
            context.set_joinstyle("round")
            renderer.draw_path(context, Path(points, codes), pixels)
        context.set_linewidth(0)
        for colour, glyphs in self._filled.items():
            points, codes = (np.concatenate(part) for part in zip(*glyphs, strict=True))
            renderer.draw_path(context, Path(points, codes), pixels, to_rgba(colour))
        with io.BytesIO() as file:
            drawn = Image.fromarray(np.asarray(renderer.buffer_rgba()))
            drawn.convert("RGB").save(file, format="png", compress_level=4)
            return file.getvalue()


@lru_cache(maxsize=8192)  # all pictures of a study have the same names and letters
def _glyphs(word: str, size: float, bold: bool) -> Glyphs:
    if not word.strip():
        return np.zeros((0, 2)), np.zeros(0, dtype=np.uint8)
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks are drawn as boxes
        # the backslash keeps a dollar sign from starting a formula
        path = TextPath((0, 0), word.replace("$", r"\$"), size=size, prop=font)
    return np.asarray(path.vertices, dtype=float) * POINT, np.asarray(path.codes, dtype=np.uint8)
