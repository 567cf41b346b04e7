"""What a message advises exists: each option and argument that is named is a real one."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import nfopt
from nfopt.cli.app import app
from nfopt.cli.failures import OPTIONS, in_options
from nfopt.data import load, load_rows, split
from nfopt.data.sources import limits

ROOT = Path(nfopt.__file__).parent


def _options() -> dict[str, set[str]]:
    """The options of each command."""
    group = typer.main.get_command(app)
    return {
        name: {
            word
            for parameter in command.params
            for word in (*parameter.opts, *parameter.secondary_opts)
        }
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def _messages() -> Iterator[tuple[str, str]]:
    """Every text in the package that is no docstring, with its place."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or id(node) in docs:
                continue
            if isinstance(node.value, str):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


KNOWN = set().union(*_options().values()) | {"--help", "--version"}


def test_every_option_that_a_message_names_exists() -> None:
    wrong = [
        (place, option)
        for place, text in _messages()
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)
        if option not in KNOWN
    ]
    assert wrong == []


def test_every_argument_that_is_shown_as_an_option_is_one() -> None:
    assert {f"--{name.replace('_', '-')}" for name in OPTIONS} <= KNOWN


def test_every_value_that_a_message_advises_can_be_given() -> None:
    arguments = {
        name
        for function in (nfopt.fit, nfopt.search, load, load_rows, split)
        for name in inspect.signature(function).parameters
    }
    advised = [
        (place, name, value)
        for place, text in _messages()
        if not place.startswith("cli/")
        for name, value in re.findall(r"`([a-z_]+)=([^`]*)`?", text)
    ]
    assert len(advised) > 3
    assert [one for one in advised if one[1] not in arguments] == []


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("`dequantise=False` keeps them", "`--dequantise none` keeps them"),
        ("`header=False` (--no-header)", "`--no-header`"),
        ("`header=True` (--header)", "`--header`"),
        ("`drop_rows=True` (--drop-rows)", "`--drop-rows`"),
        ("`dequantise={'a b': step}`", "`--dequantise a b=STEP`"),
        ('`decimal=","` (--decimal ,)', "`--decimal ,`"),
        ("choose some with `columns`", "choose some with `--columns`"),
    ],
)
def test_advice_in_python_becomes_advice_for_the_shell(python: str, shell: str) -> None:
    assert in_options(python) == shell
    option = re.search(r"--[a-z-]+", shell)
    assert option is not None
    assert option[0] in _options()["fit"]


def test_help_names_the_limits_of_files() -> None:
    group = typer.main.get_command(app)
    text = str(group.commands["fit"].params[0].help)  # type: ignore[attr-defined]
    for number in (
        f"{limits.MOST >> 30} GiB",
        f"{limits.EXPANSION} times",
        f"{limits.SMALL >> 20} MiB",
    ):
        assert number in text
