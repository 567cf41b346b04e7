"""What asks a search to stop is noted, and leaves the handlers as they were."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from nfopt.cli.failures import code_of
from nfopt.signals import listening


@pytest.fixture(params=["SIGTERM", "SIGHUP"])
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    found = signal.Signals[request.param]
    before = signal.getsignal(found)
    yield found
    signal.signal(found, before)


def test_the_first_is_noted_and_the_second_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with listening() as stop:
        os.kill(os.getpid(), number)
        assert stop()
        assert stop.reason == number.name
        with pytest.raises(KeyboardInterrupt) as caught:
            stop.check()
        assert code_of(caught.value) == 128 + number
        if number == signal.SIGHUP:  # a shell and the system may both send it
            os.kill(os.getpid(), number)
        else:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", ["SIGHUP"], indirect=True)
def test_what_nohup_has_ignored_stays_ignored(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    with listening() as stop:
        os.kill(os.getpid(), number)
        assert not stop()
