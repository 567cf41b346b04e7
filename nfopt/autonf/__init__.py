"""The differentiable search over layer types, after Wang et al. (AutoNF).

    options = options_of("types,identity", features=10)     # what each layer may be
    choice = choose(options, data, train, Settings(places=6), seed=0)
    choice.best.spec                                         # won a race, each flow trained alone

An option's weight is a softmax of logits, and the logits follow the gradient of the mean NLL of a
path drawn from the weights, minus what a layer costs (`objective`). All paths share their flows'
weights (`supernet`); as shared weights rank architectures badly, the most likely ones are trained
alone and compared on validation rows (`race`).
"""

from nfopt.autonf.choose import RACES, Choice, Method, RacePlan, choose
from nfopt.autonf.costs import COSTS, CostTable, default_place
from nfopt.autonf.history import Found, History, Record
from nfopt.autonf.options import KINDS, PRESETS, Option, options_of, path_of, spec_of
from nfopt.autonf.price import Fixed, Price, Target
from nfopt.autonf.race import Raced, race
from nfopt.autonf.search import search
from nfopt.autonf.settings import Settings
from nfopt.evolution.ranking import front

__all__ = [
    "COSTS",
    "KINDS",
    "PRESETS",
    "RACES",
    "Choice",
    "CostTable",
    "Fixed",
    "Found",
    "History",
    "Method",
    "Option",
    "Price",
    "RacePlan",
    "Raced",
    "Record",
    "Settings",
    "Target",
    "choose",
    "default_place",
    "front",
    "options_of",
    "path_of",
    "race",
    "search",
    "spec_of",
]
