"""The section that a paper can take over: what was done, with numbers, versions and references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from nfopt import attributes as names
from nfopt.layers.layer import map_of
from nfopt.report.page.delivered import clock
from nfopt.report.page.facts import Delivered, Facts, StudyFacts
from nfopt.report.page.markup import NOTHING, Html, code, el, joined

REFERENCES = {
    "gonsior": "F. Gonsior, S. Mücke, K. Morik: Structure Search for Normalizing Flows. LWDA 2021.",
    "autonf": "Y. Wang, J. Drgoňa, J. Zhang, K. S. Nanjangud Suryanarayana, M. Schram, F. Liu, P."
    " Li: AutoNF: Automated Architecture Optimization of Normalizing Flows with Unconstrained"
    " Continuous Relaxation Admitting Optimal Discrete Solution. AAAI 2023."
    " doi:10.1609/aaai.v37i8.26220",
    "optuna": "T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama: Optuna: A Next-generation"
    " Hyperparameter Optimization Framework. KDD 2019. doi:10.1145/3292500.3330701",
    "tpe": "J. Bergstra, R. Bardenet, Y. Bengio, B. Kégl: Algorithms for Hyper-Parameter"
    " Optimization. NeurIPS 2011.",
    "nsga2": "K. Deb, A. Pratap, S. Agarwal, T. Meyarivan: A fast and elitist multiobjective"
    " genetic algorithm: NSGA-II. IEEE Transactions on Evolutionary Computation 6 (2002)."
    " doi:10.1109/4235.996017",
    "muon": "K. Jordan, Y. Jin, V. Boza, J. You, F. Cesista, L. Newhouse, J. Bernstein: Muon: An"
    " optimizer for hidden layers in neural networks. 2024. kellerjordan.github.io/posts/muon",
    "spline": "C. Durkan, A. Bekasov, I. Murray, G. Papamakarios: Neural Spline Flows. NeurIPS"
    " 2019. arXiv:1906.04032",
    "coupling": "L. Dinh, J. Sohl-Dickstein, S. Bengio: Density estimation using Real NVP. ICLR"
    " 2017. arXiv:1605.08803",
    "autoregressive": "G. Papamakarios, T. Pavlakou, I. Murray: Masked Autoregressive Flow for"
    " Density Estimation. NeurIPS 2017. arXiv:1705.07057",
}
SHORT = {
    "gonsior": "after Gonsior et al. 2021",
    "autonf": "after AutoNF, Wang et al. 2023",
    "muon": "Jordan et al. 2024",
    "spline": "Durkan et al. 2019",
    "coupling": "Dinh et al. 2017",
    "autoregressive": "Papamakarios et al. 2017",
    "optuna": "Akiba et al. 2019",
    "tpe": "Bergstra et al. 2011",
    "nsga2": "Deb et al. 2002",
}
SAMPLERS = {
    "evolution": ("an evolutionary search over masks, adjacencies and hyperparameters", "gonsior"),
    "tpe": ("a tree-structured Parzen estimator", "tpe"),
    "nsga2": ("NSGA-II", "nsga2"),
    "random": ("random search", ""),
}


def citation(facts: Facts) -> Html:
    """Write what was done as a paragraph, with the references that it names."""
    if facts.delivered is None and facts.study is None:
        return NOTHING
    used: list[str] = []
    sentences = list(chain(_found(facts, used), _trained(facts, used), _software(facts, used)))
    version = _versions(facts).get("nfopt", "")
    entry = (
        "@software{nfopt,\n"
        "  author  = {{nfopt developers}},\n"
        "  title   = {nfopt: structure and hyperparameter search for normalizing flows},\n"
        f"  version = {{{version}}},\n"
        "}\n"
    )
    known = [REFERENCES[key] for key in dict.fromkeys(used) if key]
    return joined([
        el("p", " ".join(sentences)),
        el("ul", *(el("li", one) for one in known), class_="soft"),
        el("p", "nfopt itself is cited as:"),
        code(entry),
    ])  # fmt: skip


def _cited(key: str, used: list[str]) -> str:
    """The short form of a reference, in brackets; it is noted as used."""
    used.append(key)
    return f" ({SHORT[key]})" if key else ""


def _found(facts: Facts, used: list[str]) -> Iterator[str]:
    rows = [int(count) for count in facts.described.get("rows", ())]
    counts = f" ({rows[0]:,} rows for training, {rows[1]:,} for validation)" if rows[1:] else ""
    given = facts.described.get("context_columns") or ()
    what = f"the {len(facts.columns)} columns of {facts.name}{counts}"
    what += f", given {len(given)} more columns" if given else ""
    study = facts.study
    if study is None:
        yield f"We fitted a normalizing flow to {what}, with nfopt's recipe and no search."
        return
    ended = Counter(row.state for row in study.rows)
    number = ended["COMPLETE"] + ended["PRUNED"]
    yield f"We searched a normalizing flow for {what}, by {_how(study, used)}: {number:,} trials,"
    seconds = clock(sum(row.seconds for row in study.rows))
    yield f"of which {ended['PRUNED']:,} were pruned, in {seconds} of training."


def _how(study: StudyFacts, used: list[str]) -> str:
    if names.AUTONF in study.known:
        return f"a differentiable search over the types of its layers{_cited('autonf', used)}"
    how, key = SAMPLERS.get(str(study.known.get(names.SAMPLER)), ("Optuna", "optuna"))
    return f"{how}{_cited(key, used)}"


def _trained(facts: Facts, used: list[str]) -> Iterator[str]:
    found = facts.delivered
    if found is None:
        return
    members = len(found.specs)
    of = f" of {members} flows, chosen and weighted on validation rows," if members > 1 else ""
    kinds = dict.fromkeys(layer.kind for spec in found.specs for layer in spec.layers)
    maps = {scalar.kind for spec in found.specs for x in spec.layers if (scalar := map_of(x))}
    what = [f"{kind} layers{_cited(kind, used)}" for kind in kinds if kind in SHORT]
    what += [f"rational-quadratic splines{_cited('spline', used)}"] * ("spline" in maps)
    has = f" has {' and '.join(what)}, and" if what else " has"
    parameters = sum(spec.parameter_count() for spec in found.specs)
    mixture = f"The mixture{of}" if members > 1 else "The flow"
    yield f"{mixture}{has} {parameters:,} parameters in all{_optimiser(found, used)}."
    nll, error = (found.number(name, of="scores") for name in ("test_nll", "test_nll_2se"))
    rows = [int(count) for count in facts.described.get("rows", ())]
    if nll is not None:
        on = f" on {rows[2]:,} rows" if rows[2:] else ""
        spread = f" ± {error:.2g}" if error is not None else ""
        yield (
            f"Its test log-likelihood{on}, which no step of the search had seen, is"
            f" {-nll:.4g}{spread} nats a row (mean, twice its standard error)."
        )


def _optimiser(found: Delivered, used: list[str]) -> str:
    train = found.info.get("train")
    name = train.get("optimiser") if isinstance(train, dict) else None
    if name == "muon":
        return f", trained with Muon{_cited('muon', used)} and AdamW"
    return {"adam": ", trained with Adam", "adamw": ", trained with AdamW"}.get(str(name), "")


def _software(facts: Facts, used: list[str]) -> Iterator[str]:
    versions = _versions(facts)
    said = [f"{name} {versions[name]}" for name in ("nfopt", "torch", "optuna") if name in versions]
    if said:
        more = _cited("optuna", used) if facts.study is not None else ""
        yield f"Software: {', '.join(said)}{more}."


def _versions(facts: Facts) -> dict[str, str]:
    told = None if facts.delivered is None else facts.delivered.info.get("versions")
    if not isinstance(told, dict) and facts.study is not None:
        told = facts.study.known.get(names.VERSIONS)
    return {str(k): str(v) for k, v in told.items()} if isinstance(told, dict) else {}
