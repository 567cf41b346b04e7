"""What MkDocs does not do by itself: pages from outside of docs/, their links, formulas, notebooks.

README.md is the first page, and CHANGELOG.md, CONTRIBUTING.md and the READMEs of studies/ are
pages, each as it is: one home for each fact. Their links are written for the repository, so they
are turned to the pages of the site. Formulas become MathML, which browsers show without a script.
Notebooks are run in an empty folder; with NFOPT_NOTEBOOKS=0 their code is only shown.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\(|\\\[)(.*?)(?:\\\)|\\\])</\1>', re.S)
FUNCTION = re.compile(r"\\(?:log|det|exp)\b(?! *(?:[_^(]|\\left\())")  # a thin space after it
PRIME = re.compile(r"<msup>(<mi>\w</mi>)<mi>&#x02032;</mi></msup>")  # the sign is raised by itself
FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def pages() -> dict[str, str]:
    """Where a file of the repository is on the site, for all that docs/ does not hold."""
    found = {"README.md": "index.md"}
    found |= {f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING")}
    for path in sorted(ROOT.glob("studies/*/README.md")):
        found[f"studies/{path.parent.name}/README.md"] = f"studies/{path.parent.name}.md"
    for path in sorted(ROOT.glob("studies/*/*.png")):
        found[str(path.relative_to(ROOT))] = str(path.relative_to(ROOT))
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures from outside of docs/."""
    from mkdocs.structure.files import File

    for path, uri in pages().items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page's links to files of the repository into links of the site."""
    if page.file.src_uri.startswith("notebooks/"):
        markdown = begin_notebook(markdown)
    outside = pages()
    origin = {uri: path for path, uri in outside.items()}
    uri = page.file.src_uri
    return relink(markdown, origin.get(uri, f"docs/{uri}"), uri, outside)


def relink(markdown: str, origin: str, uri: str, outside: dict[str, str]) -> str:
    """Rewrite the links of a page.

    Args:
        markdown: The page.
        origin: Its path in the repository, from which its links are counted.
        uri: Its path on the site.
        outside: As `pages` gives it.
    """

    def target(link: re.Match[str]) -> str:
        picture, text, path, anchor = link[1], link[2], link[3], link[4] or ""
        if not path or re.match(r"[a-z]+:", path):
            return link[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        if place in outside:
            there = outside[place]
        elif place.startswith("docs/"):
            there = place.removeprefix("docs/")
        elif re.fullmatch(r"examples/(cluster/)?\w+\.\w+", place):
            there, anchor = "examples.md", f"#{posixpath.basename(place).replace('.', '')}"
        elif (ROOT / place).exists():
            return text  # in the repository only
        else:
            return link[0]  # MkDocs says that it leads nowhere
        there = posixpath.relpath(there, posixpath.dirname(uri) or ".")
        return f"{picture}[{text}]({there}{anchor})"

    return LINK.sub(target, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML; after a notebook, go back."""
    os.chdir(ROOT)
    return FORMULA.sub(lambda found: mathml(found[2], found[1] == "div"), html)


def mathml(tex: str, block: bool) -> str:
    """Turn a formula in TeX, escaped for HTML, into MathML."""
    from latex2mathml.converter import convert

    spaced = FUNCTION.sub(r"\g<0>\\,", html.unescape(tex))
    made = str(convert(spaced, display="block" if block else "inline"))
    return PRIME.sub(r"\1<mi>&#x02032;</mi>", made)


def begin_notebook(markdown: str) -> str:
    """Go to an empty folder, as the cells of a notebook write what a user's would."""
    if os.environ.get("NFOPT_NOTEBOOKS") == "0":
        return re.sub(r'(?m)^(```python) exec="on".*$', r"\1", markdown)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = tempfile.TemporaryDirectory(prefix="nfopt-notebook-")
    FOLDERS.append(folder)  # gone when the process ends
    os.chdir(folder.name)
    return markdown
