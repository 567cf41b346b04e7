"""The parts of a flow as plain data: scalar maps, conditioners, layers, bases.

What a kind is (its fields, how many weights it has, what it costs, whether it is searched) its
class says; what it does not say is refused by name. `nfopt.spec` puts layers together.
"""

from nfopt.layers.bases import BASES as BASES
from nfopt.layers.bases import Base as Base
from nfopt.layers.bases import Normal as Normal
from nfopt.layers.bases import StudentT as StudentT
from nfopt.layers.kinds import *  # noqa: F403  all that the module lists: a kind is named in one file
from nfopt.layers.layer import Conditioner as Conditioner
from nfopt.layers.layer import LayerKind as LayerKind
from nfopt.layers.layer import conditioner_of as conditioner_of
from nfopt.layers.layer import map_of as map_of
from nfopt.layers.maps import *  # noqa: F403
from nfopt.layers.maps import MapKind as MapKind
from nfopt.layers.plain import Activation as Activation
from nfopt.layers.plain import Plain as Plain
from nfopt.layers.plain import Search as Search
from nfopt.layers.plain import Tagged as Tagged
from nfopt.layers.plain import check_choice as check_choice
from nfopt.layers.plain import check_range as check_range
from nfopt.layers.plain import kind_of as kind_of
from nfopt.layers.plain import settle as settle
