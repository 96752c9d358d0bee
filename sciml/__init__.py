"""Neural differential equations and PDE surrogates, all stepped through time by one integrator layer.

`import sciml` is lazy (PEP 562): rooms and the few front-door names are imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.bench.checkpoint import load as load
    from sciml.integrate import ODE as ODE
    from sciml.integrate import SemiLinear as SemiLinear
    from sciml.integrate import Solution as Solution
    from sciml.integrate import solve as solve

_ROOMS = (
    "bench",
    "cli",
    "compat",
    "core",
    "data",
    "grids",
    "integrate",
    "metrics",
    "neural_de",
    "nn",
    "paths",
    "pde",
    "ssm",
    "surrogates",
    "training",
)
_FRONT_DOOR = {
    "load": "sciml.bench",
    "ODE": "sciml.integrate",
    "SemiLinear": "sciml.integrate",
    "Solution": "sciml.integrate",
    "solve": "sciml.integrate",
}
__all__ = ["ODE", "SemiLinear", "Solution", "load", "solve"]


def __getattr__(name: str) -> Any:
    if name in _FRONT_DOOR:
        return getattr(importlib.import_module(_FRONT_DOOR[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"sciml.{name}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("sciml-torch")
    raise AttributeError(f"module 'sciml' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS, "__version__"})
