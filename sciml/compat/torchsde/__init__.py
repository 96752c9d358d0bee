"""The public names of torchsde (0.2.6), with its keywords, defaults, kinds of errors and layouts: change one import
and keep the rest of the script.

The state is (batch, channel) and results have time first. New code is better off with `sciml.solve`.

What is served, and what differs, stands in `sciml/README.md` under "Coming from torchsde".
"""

from sciml.compat.torchsde import settings, types
from sciml.compat.torchsde.adjoint import sdeint_adjoint
from sciml.compat.torchsde.derived import BrownianPath, BrownianTree, ReverseBrownian, brownian_interval_like
from sciml.compat.torchsde.interval import BaseBrownian, BrownianInterval
from sciml.compat.torchsde.sde import BaseSDE, SDEIto, SDEStratonovich
from sciml.compat.torchsde.sdeint import sdeint

__all__ = [
    "BaseBrownian",
    "BaseSDE",
    "BrownianInterval",
    "BrownianPath",
    "BrownianTree",
    "ReverseBrownian",
    "SDEIto",
    "SDEStratonovich",
    "brownian_interval_like",
    "sdeint",
    "sdeint_adjoint",
    "settings",
    "types",
]
