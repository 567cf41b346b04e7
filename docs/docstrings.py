"""An extension of griffe: examples in docstrings (`>>>`) are shown as code, in any section."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1(?! *$).*)*", flags=re.MULTILINE)


def fenced(text: str) -> str:
    """Put fences around examples, each from its first `>>>` to the next empty line."""

    def fence(found: re.Match[str]) -> str:
        indent = found[1]
        return f"{indent}```pycon\n{found[0]}\n{indent}```"

    return EXAMPLE.sub(fence, text)


class Examples(griffe.Extension):
    """Changes docstrings when they are read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Put fences around the examples of one object."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
