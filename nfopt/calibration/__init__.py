"""Whether a conditional density means what it says: ranks (SBC) and coverage (TARP).

found = calibrate(flow, theta, x)       # pairs that it was not trained on
found.tests()                           # one line a column, and one for all together
"""

from __future__ import annotations

from nfopt.calibration.core import (
    Uniformity,
    band,
    coverage,
    deviation,
    sbc_ranks,
    tarp_ranks,
    uniformity,
)
from nfopt.calibration.flow import ALL, FEWEST_ROWS, Calibration, calibrate

__all__ = [
    "ALL",
    "FEWEST_ROWS",
    "Calibration",
    "Uniformity",
    "band",
    "calibrate",
    "coverage",
    "deviation",
    "sbc_ranks",
    "tarp_ranks",
    "uniformity",
]
