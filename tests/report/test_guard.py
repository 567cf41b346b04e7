"""A dashboard answers to its own name, and takes no writes from other sites' pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from nfopt.report.guard import Guard


def inner(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [])
    return [b"all studies"]


def status(guard: Guard, host: str | None, method: str = "GET", **headers: str) -> int:
    said: list[str] = []
    environ = {"REQUEST_METHOD": method} | {f"HTTP_{k.upper()}": v for k, v in headers.items()}
    environ |= {} if host is None else {"HTTP_HOST": host}
    got = b"".join(guard(environ, lambda text, headers: said.append(text)))
    assert b"\n" not in got
    return int(said[0][:3])


@pytest.mark.parametrize(
    ("bound", "host", "code"),
    [
        ("127.0.0.1", "127.0.0.1:8080", 200),
        ("127.0.0.1", "localhost:8080", 200),
        ("127.0.0.1", "LocalHost", 200),
        ("127.0.0.1", "[::1]:8080", 200),
        ("127.0.0.1", "evil.example:8080", 403),
        ("127.0.0.1", "localhost.evil.example", 403),
        ("127.0.0.1", "me@localhost", 403),
        ("127.0.0.1", "localhost/evil", 403),
        ("127.0.0.1", "10.0.0.5:8080", 403),
        ("127.0.0.1", "localhost:x", 403),
        ("127.0.0.1", "", 403),
        ("127.0.0.1", None, 403),
        ("10.0.0.5", "10.0.0.5:8080", 200),
        ("0.0.0.0", "10.0.0.5:8080", 200),
        ("0.0.0.0", "evil.example:8080", 403),
        ("0.0.0.0", "lab.example:8080", 200),
    ],
)
def test_it_answers_to_its_own_names(bound: str, host: str | None, code: int) -> None:
    assert status(Guard(inner, bound, ["lab.example"]), host) == code


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 200),  # no browser
        ({"origin": "http://localhost:8080"}, 200),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[broken"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
def test_other_sites_write_nothing(method: str, headers: dict[str, str], code: int) -> None:
    guard = Guard(inner, "127.0.0.1")
    assert status(guard, "localhost:8080", method, **headers) == code
    assert status(guard, "localhost:8080", "GET", **headers) == 200
