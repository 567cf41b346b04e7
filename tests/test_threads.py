"""What is read first in two threads at once: msgspec crashes then, so types are read on import."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own, as whatever any other test has read is read. `get_class_annotations` is
# where msgspec reads a type; it does not let itself be replaced, but a profile sees it called.
SCRIPT = """
import sys

from nfopt import attributes, recipes
from nfopt.data import Preprocessing
from nfopt.data.rows import Origin
from nfopt.space import SearchSpace
from nfopt.spec import FlowSpec, Recipe, TrainSpec
from nfopt.storage.operations import Reader

best = recipes.recipe(3, 1000)
texts = best.flow.to_json(), best.train.to_json(), best.to_json()
read = []

def seen(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "get_class_annotations":
        caller = frame.f_back
        read.append(f"{caller.f_code.co_filename}:{caller.f_lineno}")

sys.setprofile(seen)
FlowSpec.from_json(texts[0])
TrainSpec.from_json(texts[1])
Recipe.from_json(texts[2])
attributes.wrong_in_trial({}, {})
attributes.wrong_in_study({})
Origin.of({"columns": ["a"]})
Reader().fault({"op_code": 5})
for text, kind in (("{}", Preprocessing), ("{}", SearchSpace)):
    try:
        kind.from_json(text)
    except ValueError:
        pass
sys.setprofile(None)
print("\\n".join(read))
"""


def test_types_are_read_when_modules_are_imported() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == ""
