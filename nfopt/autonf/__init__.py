"""The differentiable search over layer types, after Wang et al. (AutoNF).

Options a layer, shared weights, an objective of the options' weights that a gradient can follow,
and a race of the best architectures, each trained alone, at the end.
"""

from nfopt.autonf.options import KINDS, PRESETS, Option, options_of, path_of, spec_of

__all__ = ["KINDS", "PRESETS", "Option", "options_of", "path_of", "spec_of"]
