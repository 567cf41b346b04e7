"""Search a flow for a table in half a minute, then read the trials back from the study."""

from __future__ import annotations

import nfopt

# small limits, so that half a minute is enough for a few dozen trials; leave `space` out for all
result = nfopt.search(
    "moons",
    minutes=0.5,
    study="example-search",
    space={"kind": "coupling", "depth": [2, 6], "width": [16, 64], "steps": 1500},
)
print(result.flow)
print(f"test log-likelihood: {-result.test_nll:.3f} ± {result.test_nll_2se:.3f} nats a row")
print(f"saved in {result.out}")

# any later process can read the study: it is an ordinary one of Optuna
study = nfopt.load_study("example-search")
done = [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
pruned = sum(trial.state.name == "PRUNED" for trial in done)
print(f"\n{len(done)} trials, {pruned} of them pruned; the best ones, trained for a short time:")
complete = [trial for trial in done if trial.state.name == "COMPLETE"]
for trial in sorted(complete, key=lambda trial: trial.values[0])[:5]:
    spec = nfopt.FlowSpec.from_json(trial.user_attrs["nfopt:spec"])
    print(
        f"  trial {trial.number:>3}: validation log-likelihood {-trial.values[0]:.3f},"
        f" {trial.user_attrs['nfopt:parameters']:>6,} parameters,"
        f" {trial.user_attrs['nfopt:seconds']:.1f} s, {spec.summary()}"
    )
