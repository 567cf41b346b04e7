"""The guide: stored as far as it is needed, and named where it is missing."""

from __future__ import annotations

import numpy as np
import pytest

from nfopt import designs
from nfopt.dependence import mutual_information
from nfopt.masks import letters
from nfopt.space import Guide, SearchSpace

from .toys import data, make


def test_the_guide_is_stored_as_far_as_it_is_needed() -> None:
    full = make("full", 6)
    assert full.guide is not None
    assert set(full.guide.ranks) == {"partial_correlation", "mutual_information"}
    coupling = make("coupling", 6)
    assert coupling.guide is not None
    assert not coupling.guide.ranks
    cuts = designs.dependence(8, 6, mutual_information(data(6)))
    assert coupling.guide.cuts == letters(cuts)


def test_a_missing_guide_is_named() -> None:
    with pytest.raises(ValueError, match="`guide` must be given for `orders` by dependence"):
        SearchSpace.create(4, 500)
    with pytest.raises(ValueError, match="`guide` must be given to rank parents"):
        SearchSpace.create(4, 500, limits={"orders": "given"})
    with pytest.raises(ValueError, match="`guide` is for 3 features, the space has 4"):
        SearchSpace.create(4, 500, guide=Guide.measure(data(3), 2))
    with pytest.raises(ValueError, match="`guide` must have the measure 'partial_correlation'"):
        SearchSpace.create(4, 500, guide=Guide.of({"mutual_information": np.ones((4, 4))}, 2))
    with pytest.raises(ValueError, match="`strengths` must be of"):
        Guide.of({}, 2)
    assert SearchSpace.create(4, 500, kind="coupling").guide is None
