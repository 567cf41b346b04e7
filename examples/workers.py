"""Two workers on one machine share its cores and one study, and meet its budget exactly."""

from __future__ import annotations

import tempfile

import nfopt

with tempfile.TemporaryDirectory() as folder:
    result = nfopt.search(
        "moons",
        study="example-workers",
        storage=f"sqlite:///{folder}/study.db",  # one machine; for several, see examples/cluster/
        trials=12,
        workers=2,
        space={"kind": "coupling", "depth": [2, 4], "width": [8, 32], "steps": 300},
        out=f"{folder}/flow",
    )
    who = {trial.user_attrs["nfopt:worker"]["pid"] for trial in result.study.trials}
    print(f"{result.trials} trials by {len(who)} processes")
    print(f"test NLL of the flow that was found: {result.test_nll:.3f}")
