"""Tests that take a flow run once for each kind of them."""

from __future__ import annotations

import pytest

from nfopt.model import Flow

from .toys import FLOWS


@pytest.fixture(params=FLOWS)
def flow(request: pytest.FixtureRequest) -> Flow:
    return FLOWS[request.param]()
