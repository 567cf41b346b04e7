"""How a command ends when it can't go on: one line and exit code 2, or a traceback for our bugs.

| exit code | what happened |
|---|---|
| 0 | the command did its work |
| 1 | a bug of nfopt: the traceback is shown |
| 2 | a user's mistake, or a file or storage that can't be used: one line |
| 130 | Ctrl-C (143: terminated, 129: the terminal was closed); one line that says how to go on |
| 141 | whoever read standard output went away (`| head`): nothing is said |
"""

from __future__ import annotations

import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import typer

from nfopt.errors import DataWarning, NfoptError, StudyWarning

MISTAKE, BUG, INTERRUPTED, TERMINATED, NO_READER = 2, 1, 130, 143, 141
HUNG_UP = 129

# The arguments of the Python functions that are options here: a message that names one in
# backticks is shown with the option's own name.
OPTIONS = frozenset(
    {
        "artifacts",
        "block",
        "estimator",
        "from",
        "bounds",
        "columns",
        "context",
        "cost",
        "decimal",
        "dequantise",
        "device",
        "drop_rows",
        "encoding",
        "engine",
        "header",
        "host",
        "initial",
        "lease",
        "log",
        "member",
        "members",
        "method",
        "methods",
        "minutes",
        "objectives",
        "options",
        "out",
        "port",
        "pictures",
        "price",
        "sampler",
        "seed",
        "separator",
        "space",
        "split",
        "storage",
        "strict",
        "study",
        "target_cost",
        "threads",
        "trial",
        "trials",
        "weights",
        "workers",
    }
)
_OTHER_WORDS = {
    "`groups`": "`--split group:COLUMN`",
    "`path`": "MODEL",
    "`places`": "`--layers`",
    "`directory`": "`--out`",
    "`data`": "DATA",
}

# Arguments with the values that a message advises, as options.
_VALUES = (
    (r"`header=False`", "`--no-header`"),
    (r"`header=True`", "`--header`"),
    (r"`dequantise=False`", "`--dequantise none`"),
    (r"`dequantise=\{'([^']*)': step\}`", r"`--dequantise \1=STEP`"),
    (r"`decimal=\"(.)\"`", r"`--decimal \1`"),
)

_SECRET = re.compile(r"(?<=://)([^\s/:@'\"]*):[^\s'\"]*@")

# libpq's own form: password=secret, password='it\'s mine'; in a repr with more backslashes
_KEY_VALUE = re.compile(
    r"((?<![\w-])(?:ssl)?password\s*=\s*)(\\*'(?:[^'\\]|\\+.)*\\*'|(?:[^\s&;'\"\\]|\\+[^'\"])+)",
    re.IGNORECASE,
)


class Ended(Exception):
    """A command was ended from outside and has said so.

    Attributes:
        code: The exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def say(text: str) -> None:
    """Write one line to standard error, whatever characters are in it."""
    typer.echo(one_line(text), err=True)


def warn(text: str) -> None:
    """Write a warning in one line."""
    say(f"Warning: {in_options(text)}")


def one_line(text: str) -> str:
    """Make one line that no terminal takes for commands."""
    flat = " ".join(text.split())
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in flat)


def in_options(message: str) -> str:
    """Name options instead of arguments: `drop_rows` becomes `--drop-rows`."""
    for name, option in _OTHER_WORDS.items():
        message = message.replace(name, option)
    for pattern, option in _VALUES:
        message = re.sub(pattern, option, message)
    message = re.sub(
        r"`([a-z_]+)(=True)?`",
        lambda m: f"`--{m[1].replace('_', '-')}`" if m[1] in OPTIONS else m[0],
        message,
    )
    return re.sub(r"(`(--[^`]+)`) \(\2\)", r"\1", message)  # `--drop-rows` (--drop-rows)


def without_secrets(text: str, args: Sequence[str] = ()) -> str:
    """Take passwords out of a text: of every URL in it, and those given in a storage's URL.

    Args:
        text: A message or a traceback.
        args: The command line. A password may stand in a message without its URL.
    """
    known = [part for arg in (*args, os.environ.get("NFOPT_STORAGE", "")) for part in [arg]]
    urls = [arg.partition("=")[2] if arg.startswith("--") else arg for arg in known]
    for url in urls:
        if "://" in url and "@" in url:
            from nfopt.storage.open import mask_text  # heavy: only where there is a secret

            text = mask_text(text, url)
    return _KEY_VALUE.sub(r"\1***", _SECRET.sub(r"\1:***@", text))


def run(command: Callable[[], object], args: Sequence[str]) -> int:
    """Run a command line, say in one line why it ended early, and return its exit code.

    Args:
        command: The command line, raising what it raises.
        args: Its words, for the passwords in them.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(
            stream, "reconfigure"
        ):  # an encoding without a column's letters is no reason to end
            stream.reconfigure(errors="backslashreplace")
    try:
        with _warnings_in_one_line():
            code = command()
            sys.stdout.flush()
    except typer.TyperException as error:  # a wrong option or command; typer shows it in a box
        say("Error: " + without_secrets(_usage(error), args))
        return MISTAKE
    except BrokenPipeError:
        _forget_stdout()
        return NO_READER
    except Ended as error:
        return error.code
    except SystemExit:  # typer's own answer where standard output is closed
        _forget_stdout()
        return NO_READER
    except (KeyboardInterrupt, typer.Abort) as error:
        say("Interrupted.")
        return code_of(error)
    except Exception as error:  # noqa: BLE001 - the last place: either a mistake or shown in full
        if (line := mistake(error)) is None:
            typer.echo(without_secrets(traceback.format_exc(), args), err=True, nl=False)
            return BUG
        say("Error: " + without_secrets(line, args))
        return MISTAKE
    if code == INTERRUPTED:  # typer's own word for a KeyboardInterrupt that no command took
        say("Interrupted.")
    return code if isinstance(code, int) else 0


def mistake(error: Exception) -> str | None:
    """Say in a line what the user did wrong, or None if the error is a bug of ours.

    What we refuse is an `NfoptError`, or names the argument in backticks; what the system refuses
    names a file. Anything else was not foreseen.
    """
    if isinstance(error, NfoptError) or (
        isinstance(error, ValueError | TypeError) and "`" in str(error)
    ):
        return in_options(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{str(error.filename)!r}: {error.strerror}"
    return None


@contextmanager
def resumable(how: Callable[[], str]) -> Iterator[None]:
    """Say how to go on when Ctrl-C or SIGTERM ends the block.

    Args:
        how: Gives the line.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        say(how())
        raise Ended(code_of(error)) from None


def code_of(error: BaseException) -> int:
    """Tell Ctrl-C from a SIGTERM or a SIGHUP that was noted."""
    codes = {"SIGTERM": TERMINATED, "SIGHUP": HUNG_UP}
    return next((codes[str(arg)] for arg in error.args if str(arg) in codes), INTERRUPTED)


def _usage(error: typer.TyperException) -> str:
    if "`" in error.message:
        return error.message  # ours: names the option
    context = getattr(error, "ctx", None)
    where = "" if context is None else f" (see `{context.command_path} --help`)"
    return error.format_message().rstrip(". ") + where


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    with warnings.catch_warnings():
        show = warnings.showwarning

        def in_one_line(message, category, filename, lineno, file=None, line=None):  # type: ignore[no-untyped-def]
            if issubclass(category, DataWarning | StudyWarning):
                warn(str(message))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.simplefilter("always", DataWarning)
        warnings.simplefilter("always", StudyWarning)
        warnings.showwarning = in_one_line
        yield


def _forget_stdout() -> None:
    """Keep Python from flushing at exit into a pipe that nobody reads."""
    with suppress(OSError, ValueError):  # standard output is no file, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class CtrlC:
    """The process's own handler of SIGINT.

    While a search listens, it notes the first Ctrl-C, puts away what it trains, and has `at_once`
    called by the second one. Elsewhere the first one interrupts as usual.
    """

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt what does not listen."""
        raise KeyboardInterrupt

    def at_once(self, number: int) -> NoReturn:
        """End the process: 130 for SIGINT, 143 for SIGTERM."""
        os._exit(128 + number)


def leave(code: int) -> NoReturn:
    """End the process, all said and stored; taking torch down would take a second or more."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
