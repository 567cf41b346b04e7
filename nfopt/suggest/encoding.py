"""How rows of bits are written, by who samples them; and what is declared in the study.

The evolution reads whole numbers of 32 bits as masks. To all other samplers two neighbouring whole
numbers are similar, which as masks they are not, so they get one parameter a bit, while these are
few. What was declared first holds for the whole study, whoever samples it later.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import msgspec
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial, FrozenTrial

from nfopt.attributes import SPACE, SUGGESTED
from nfopt.errors import StudyWarning
from nfopt.optuna_internals import recode_fixed
from nfopt.samplers import EvolutionSampler
from nfopt.samplers.declared import ENCODINGS, FLOW, FlowGenes, Genes, declared_in
from nfopt.space import SearchSpace
from nfopt.space.domains import Domain
from nfopt.space.genes import recoded
from nfopt.stored import attributes_of, space_of

FEW_BITS = 64
"""Bits in a study up to which each is a parameter for samplers other than the evolution: more slow
down storage and sampler."""


def reads_masks(sampler: BaseSampler) -> bool:
    """Whether a sampler reads packed masks as masks."""
    return isinstance(getattr(sampler, "inner", sampler), EvolutionSampler)


def check_encoding(encoding: str | None) -> None:
    """Check the name of an encoding.

    Raises:
        ValueError: If it is not known.
    """
    if encoding is not None and encoding not in ENCODINGS:
        raise ValueError(f"`encoding` must be packed or bits, got {encoding!r}.")


def declared(trial: optuna.trial.BaseTrial, key: str, genes: Genes, encoding: str | None) -> Genes:
    """Declare masks or parents in the trial's study, if they are new there.

    Args:
        trial: Any trial; one without a study has the encoding of its parameters.
        key: Of the parameters.
        genes: What they mean.
        encoding: As asked for; None: what the study says, or what is best for its sampler.

    Returns:
        The same in the encoding that holds.

    Raises:
        ValueError: If the study has declared something else by that name.
    """
    check_encoding(encoding)
    study = study_of(trial)
    if study is None:
        found = encoding or ("bits" if _has(trial, genes.domains(key, "bits")) else "packed")
        return msgspec.structs.replace(genes, encoding=found)
    known = attributes_of(study)
    all_declared = declared_in(study.study_name, known)
    before = all_declared.get(key)
    if isinstance(before, FlowGenes):
        raise ValueError(f"`name` {key!r} is a flow in this study: choose another one.")
    if before is None:
        others = sum(_bits(other) for other in all_declared.values())
        found = encoding or _best(study.sampler, genes.bits + others)
        genes = msgspec.structs.replace(genes, encoding=found)
        study.set_user_attr(SUGGESTED + key, msgspec.to_builtins(genes))
    else:
        wanted = msgspec.structs.replace(genes, encoding=encoding or before.encoding)
        if before != wanted:
            raise ValueError(_changed(key, before, wanted))
        genes = before
    _recode(trial, genes.rows(key), genes.encoding)
    if encoding is None:
        _warn(study.sampler, key, genes.encoding, genes.bits, 5)
    return genes


def declared_space(
    trial: optuna.trial.BaseTrial, space: SearchSpace, encoding: str | None
) -> SearchSpace:
    """Declare a flow's space in the trial's study, if that has none yet.

    Args:
        trial: Any trial; one without a study has the encoding of its parameters.
        space: What is searched.
        encoding: As for `declared`.

    Returns:
        The space in the encoding that holds.

    Raises:
        ValueError: If the study has declared another space.
    """
    check_encoding(encoding)
    study = study_of(trial)
    if study is None:
        bits = _has(trial, space.encoded("bits").parameters)
        return space.encoded(encoding or ("bits" if bits else _written(space)))
    known = attributes_of(study)
    if SPACE in known:  # made by nfopt, which has its own ways to change it
        stored = space_of(study.study_name, known)
        same = space.encoded(stored.plan.encoding).to_json() == stored.to_json()
        return stored if same and encoding is None else space.encoded(encoding or _written(space))
    flow = declared_in(study.study_name, known).get(FLOW)
    if isinstance(flow, FlowGenes):
        before = SearchSpace.from_json(flow.space)
        wanted = space.encoded(encoding or _written(before))
        if wanted.to_json() != before.to_json():
            what = "`encoding`" if space.encoded(_written(before)) == before else "`space`"
            raise ValueError(
                f"{what} is another one than that of the study's earlier trials: use a new study."
            )
    else:
        best = _best(study.sampler, space.mask_bits) if space.mask_bits else _written(space)
        before = space.encoded(encoding or best)
        study.set_user_attr(SUGGESTED + FLOW, msgspec.to_builtins(FlowGenes(before.to_json())))
    _recode(trial, before.plan.genes, _written(before))
    if encoding is None:
        _warn(study.sampler, "the flow", _written(before), before.mask_bits, 4)
    return before


def study_of(trial: optuna.trial.BaseTrial) -> optuna.Study | None:
    """The study of a trial that has one."""
    study = getattr(trial, "study", None)
    return study if isinstance(study, optuna.Study) else None


def _recode(trial: optuna.trial.BaseTrial, rows: Mapping[str, int], encoding: str) -> None:
    """Read what a trial was put into the queue with, if it is in the other encoding."""
    if isinstance(trial, optuna.Trial):
        recode_fixed(trial, lambda fixed: recoded(fixed, rows, encoding))


def _best(sampler: BaseSampler, bits: int) -> str:
    return "packed" if reads_masks(sampler) or bits > FEW_BITS else "bits"


def _bits(declared: object) -> int:
    if isinstance(declared, FlowGenes):
        return SearchSpace.from_json(declared.space).mask_bits
    return int(getattr(declared, "bits", 0))


def _written(space: SearchSpace) -> str:
    return space.plan.encoding


def _has(trial: optuna.trial.BaseTrial, parameters: Mapping[str, Domain]) -> bool:
    """Whether a trial whose parameters are given has these; a FixedTrial only says it if asked."""
    if not isinstance(trial, FixedTrial | FrozenTrial):
        return False
    try:
        for name, domain in parameters.items():
            domain.suggest(trial, name)
    except ValueError:
        return False
    return True


def _warn(sampler: BaseSampler, what: str, encoding: str, bits: int, level: int) -> None:
    if encoding != "packed" or not bits or reads_masks(sampler):
        return
    warnings.warn(
        f"{type(sampler).__name__} takes {what} for whole numbers: its {bits} bits are packed into"
        f" them, and neighbours of a number are no similar masks (up to {FEW_BITS} bits a study has"
        " one parameter a bit). Use nfopt.EvolutionSampler, or `encoding` = 'bits' in a new"
        " study; `encoding` = 'packed' silences this.",
        StudyWarning,
        stacklevel=level,
    )


def _changed(key: str, before: Genes, wanted: Genes) -> str:
    for field in wanted.__struct_fields__:
        old, new = getattr(before, field, None), getattr(wanted, field)
        if old != new:
            return f"`{field}` of {key!r} was {old!r} in this study, not {new!r}: use another name."
    return f"`name` {key!r} is something else in this study: use another one."
