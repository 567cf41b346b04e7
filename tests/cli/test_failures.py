"""What a command says when it ends early: no password, whatever form it was given in."""

from __future__ import annotations

import pytest

from nfopt.cli import failures

QUOTED = r"host=db password='it\'s mine' user=me"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("can't reach host=db password=secret user=me", "can't reach host=db password=*** user=me"),
        (f"bad: {QUOTED}", "bad: host=db password=*** user=me"),
        (f"bad: {QUOTED!r}", 'bad: "host=db password=*** user=me"'),
        (r"bad: 'password=\'it\\\'s mine\''", "bad: 'password=***"),
        (r"password=it\ is\ mine user=me", "password=*** user=me"),
        (r"password='ends with \\' user=me", "password=*** user=me"),
        ("PASSWORD = secret", "PASSWORD = ***"),
        ("sslpassword=secret sslmode=require", "sslpassword=*** sslmode=require"),
        ("postgresql:///db?password=secret&x=1", "postgresql:///db?password=***&x=1"),
        ("at 'host=db password=secret'", "at 'host=db password=***'"),
        ("postgresql://me:secret@db/x", "postgresql://me:***@db/x"),
        ("no-password=x and password of db", "no-password=x and password of db"),
    ],
)
def test_passwords_are_masked_in_any_text(text: str, shown: str) -> None:
    assert failures.without_secrets(text) == shown


@pytest.mark.parametrize("bug", [True, False])
def test_a_password_in_libpqs_form_is_not_shown(
    bug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise (RuntimeError if bug else ValueError)(f"`storage` {QUOTED!r} is away")

    words = ["search", "data.csv", "--storage", "host=db password=other"]
    assert failures.run(broken, words) == (failures.BUG if bug else failures.MISTAKE)
    err = capsys.readouterr().err
    assert "mine" not in err
    assert "password=***" in err
