"""The site: every page and every example is on it, and links lead where they led before."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import nfopt

ROOT = Path(__file__).parent.parent
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def load_hooks() -> ModuleType:
    """Import docs/hooks.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = load_hooks()


def listed(nav: Any) -> Iterator[str]:
    """The pages that a part of the navigation names."""
    if isinstance(nav, str):
        yield nav
    for part in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from listed(part)


def test_every_page_is_in_the_navigation() -> None:
    found = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    found |= {uri for uri in hooks.pages().values() if uri.endswith(".md")}
    named = list(listed(SITE["nav"]))
    assert len(named) == len(set(named))
    missing = sorted(found - set(named))
    assert not missing, f"put these pages into `nav` of mkdocs.yml: {', '.join(missing)}"
    gone = sorted(set(named) - found)
    assert not gone, f"`nav` of mkdocs.yml names pages that do not exist: {', '.join(gone)}"


def test_every_example_is_on_the_site() -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    shown = set(re.findall(r'^--8<-- "examples/(.*)"$', page, flags=re.MULTILINE))
    scripts = [path for path in ROOT.glob("examples/**/*.*") if "__pycache__" not in path.parts]
    missing = {path.relative_to(ROOT / "examples").as_posix() for path in scripts} - shown
    assert not missing, f"put these scripts into docs/examples.md: {', '.join(sorted(missing))}"
    for name in shown:
        assert f"\n## {Path(name).name}\n" in page, name  # links to a script lead to its heading


@pytest.mark.parametrize(
    ("origin", "uri", "link", "turned"),
    [
        ("README.md", "index.md", "[a](docs/data.md#rows)", "[a](data.md#rows)"),
        ("README.md", "index.md", "![a](docs/picture.png)", "![a](picture.png)"),
        ("README.md", "index.md", "[a](studies/gpu/README.md)", "[a](studies/gpu.md)"),
        ("README.md", "index.md", "[Optuna](https://optuna.org)", "[Optuna](https://optuna.org)"),
        ("docs/a.md", "a.md", "[a](../studies/gpu/README.md)", "[a](studies/gpu.md)"),
        ("docs/ideas/a.md", "ideas/a.md", "[a](../data.md)", "[a](../data.md)"),
        ("docs/a.md", "a.md", "[a](../examples/workers.py)", "[a](examples.md#workerspy)"),
        ("docs/a.md", "a.md", "[`a`](../nfopt/masks.py)", "`a`"),
        ("docs/a.md", "a.md", "[a](gone.md)", "[a](gone.md)"),
        ("docs/a.md", "a.md", "[a](#rows)", "[a](#rows)"),
        ("studies/gpu/README.md", "studies/gpu.md", "![a](x.png)", "![a](x.png)"),
        ("studies/gpu/README.md", "studies/gpu.md", "[a](../../docs/a.md)", "[a](../a.md)"),
    ],
)
def test_links_are_turned_to_the_site(origin: str, uri: str, link: str, turned: str) -> None:
    assert hooks.relink(f"see {link}.", origin, uri, hooks.pages()) == f"see {turned}."


def test_the_public_names_have_their_pages() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("docs/api/*.md"))
    names = set(re.findall(r"^(?:::: | +heading: )(nfopt\.[\w.]+)$", shown, flags=re.MULTILINE))
    public = {f"nfopt.{name}" for name in dir(nfopt) if name[0].isalpha()}
    public |= {"nfopt.sbi", "nfopt.calibration", "nfopt.export"}  # whole packages
    missing = sorted(public - names)
    assert not missing, f"put these names into a page of docs/api: {', '.join(missing)}"


def test_formulas_become_mathml() -> None:
    pytest.importorskip("latex2mathml")
    page = r'<p>of <span class="arithmatex">\(a_i &lt; b\)</span></p>'
    made = hooks.on_page_content(page, None, None, None)
    assert made.startswith(
        '<p>of <math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">'
    )
    assert "<msub><mi>a</mi><mi>i</mi></msub><mo>&#x0003C;</mo><mi>b</mi>" in made
    assert made.endswith("</math></p>")
    block = hooks.on_page_content(r'<div class="arithmatex">\[\log p\]</div>', None, None, None)
    assert 'display="block"' in block
    assert "<mi>log</mi><mspace" in block
    assert "<mi>g</mi><mi>&#x02032;</mi>" in hooks.mathml("g'(x)", block=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "code", "said"),
    [
        ('print("and".upper())', 0, "built"),
        ('raise ValueError("a cell that fails")', 1, "a cell that fails"),
    ],
)
def test_a_cell_is_run_and_an_error_in_it_ends_the_build(
    cell: str, code: int, said: str, tmp_path: Path
) -> None:
    pytest.importorskip("markdown_exec")
    (tmp_path / "docs").mkdir()
    page = f'# A page\n\n```python exec="on" result="text"\n{cell}\n```\n'
    (tmp_path / "docs" / "index.md").write_text(page)
    settings = {"INHERIT": str(ROOT / "mkdocs.yml"), "nav": ["index.md"], "hooks": []}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings | {"extra_css": []}))
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=tmp_path,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    if not code:
        assert "AND" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
