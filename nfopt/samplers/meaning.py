"""What a study says of its parameters: which are masks, edges or parts of a flow, who has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nfopt.attributes import SPACE
from nfopt.samplers.codec import Codec
from nfopt.samplers.declared import FLOW, GENE, Declared, FlowGenes, Genes, declared_in
from nfopt.samplers.presence import Presence, Rule
from nfopt.samplers.suggested import Suggested
from nfopt.samplers.trials import Reader
from nfopt.space import SearchSpace
from nfopt.stored import attributes_of, space_of

Distributions = Mapping[str, BaseDistribution]


class Meaning:
    """The meaning of one study's parameters, read anew where there are new ones.

    Args:
        space: What the caller says; None: what the study says.

    Attributes:
        space: The search space; None: not known.
        suggested: Masks and adjacencies beside it; another object whenever something is new.
    """

    def __init__(self, space: SearchSpace | None) -> None:
        self.space = space
        self.suggested = Suggested()
        self._declared: dict[str, Declared] = {}
        self._presence = Presence()
        self._reader, self._names = Reader(), set[str]()

    def read(self, study: Study) -> None:
        """Look what is declared."""
        known = attributes_of(study)
        if self.space is None and known.get(SPACE) is not None:
            self.space = space_of(study.study_name, known)
        declared = declared_in(study.study_name, known)
        flow = declared.pop(FLOW, None)
        if self.space is None and isinstance(flow, FlowGenes):
            self.space = SearchSpace.from_json(flow.space)
        if declared != self._declared:
            self._declared = declared
            self.suggested = self._gathered({})

    def learn(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        """Look what a study's new trials have, and who of them has it."""
        before = len(self._names)
        for trial in self._reader.news(trials):
            self._names.update(trial.params)
        if len(self._names) > before:  # what is declared is declared before it is asked for
            self.read(study)
        rules: Mapping[str, Rule] = {}
        if self.suggested.declared:
            rules = self._presence.learn(trials, self.suggested.names)
        if rules != self.suggested.rules:
            self.suggested = self._gathered(rules)

    def genes_of(self, study: Study, parameter: str) -> tuple[str, Genes] | None:
        """The mask or adjacency that a parameter is of, and its key."""
        key = self.suggested.key_of(parameter)
        if key is None and GENE.search(parameter):  # declared since this trial was asked
            self.read(study)
            key = self.suggested.key_of(parameter)
        return None if key is None else (key, self.suggested.declared[key])

    def beside(self) -> frozenset[str]:
        """Names of parameters that not all trials need have."""
        return frozenset[str]().union(*self.suggested.names.values())

    def distributions(self) -> dict[str, BaseDistribution]:
        """The parameters that are known beforehand."""
        known = {} if self.space is None else self.space.distributions()
        own = self.suggested.domains().items()
        return known | {name: domain.distribution() for name, domain in own}

    def codec(self, distributions: Distributions) -> Codec:
        """A codec of these parameters, and of those that are known beforehand."""
        return Codec(self.distributions() | dict(distributions), self.space, self.suggested)

    def _gathered(self, rules: Mapping[str, Rule]) -> Suggested:
        masked = self.space is not None and bool(self.space.mask_bits)
        declared = {k: g for k, g in self._declared.items() if not isinstance(g, FlowGenes)}
        return Suggested(declared, rules, apart=masked)
