"""From one sense of dW to the other: the drifts differ by half the derivative of the diffusion along itself.

f_Ito = f_Stratonovich + 1/2 sum_k (g_k . grad) g_k
"""

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sciml.integrate.directional import along
from sciml.integrate.entrywise import mixes_entries
from sciml.integrate.noise import AbstractNoise, AdditiveNoise, DiagonalNoise, Ito, SharedNoise, Stratonovich
from sciml.integrate.terms import SDE, Field, SemiLinear


def to_ito(term: SDE) -> SDE:
    """The same process in the sense of Ito; a term of that sense is returned as it is.

    The derivative of g is taken by forward differentiation, one for every Brownian motion of a matrix or of
    `SharedNoise`. For `DiagonalNoise` entry i of g must depend on entry i of y only, which the drift checks once.

    Raises:
        ValueError: for a path with a covariance of its own; when the drift is evaluated, if a diagonal g mixes entries.
    """
    return _converted(term, Ito(), 0.5) if isinstance(term.sense, Stratonovich) else term


def to_stratonovich(term: SDE) -> SDE:
    """The same process in the sense of Stratonovich; see `to_ito`."""
    return _converted(term, Stratonovich(), -0.5) if isinstance(term.sense, Ito) else term


def _converted(term: SDE, sense: Ito | Stratonovich, sign: float) -> SDE:
    if isinstance(term.structure, AdditiveNoise):
        return replace(term, sense=sense)
    if getattr(term.path, "factor", None) is not None:
        raise ValueError(
            "only terms with independent Brownian motions of variance t can be converted, got a path with a covariance."
            " Leave it out of the path and multiply g by its factor."
        )
    if isinstance(term.f, SemiLinear):
        nonlinear = ConvertedDrift(term.f.nonlinear, term.g, term.structure, sign)
        return replace(term, f=replace(term.f, nonlinear=nonlinear), sense=sense)
    return replace(term, f=ConvertedDrift(term.f, term.g, term.structure, sign), sense=sense)


@final
@dataclass(eq=False)
class ConvertedDrift:
    """f + factor sum_k (g_k . grad) g_k.

    Args:
        f, g: drift and diffusion.
        structure: of the noise.
        factor: 1/2 to Ito, -1/2 to Stratonovich.
    """

    f: Field
    g: Field
    structure: AbstractNoise
    factor: float
    checked: bool = False

    def __call__(self, t: Tensor, y: Any) -> Any:
        """The converted drift.

        Raises:
            ValueError: if a diffusion said to be diagonal mixes entries.
        """
        g = self.g(t, y)
        if self.structure.is_matrix:
            count = _first(g).shape[-1]
            changes = [self._change(t, y, g, k) for k in range(count)]
            change = tree_map(lambda *leaves: torch.stack(leaves).sum(0), *changes)
        elif isinstance(self.structure, SharedNoise):
            change = self._shared(t, y, g, self.structure.motion)
        else:
            change = self._along(t, y, g)
            if isinstance(self.structure, DiagonalNoise) and not self.checked:
                self._check(t, y)
        return tree_map(lambda a, b: a + self.factor * b, self.f(t, y), change)

    def _change(self, t: Tensor, y: Any, g: Any, k: int) -> Any:
        made = self._along(t, y, tree_map(lambda leaf: leaf[..., k], g))
        return tree_map(lambda leaf: leaf[..., k], made)

    def _shared(self, t: Tensor, y: Tensor, g: Tensor, motion: Tensor) -> Tensor:
        """Motion by motion: the entries that one moves change along themselves only as far as it goes."""
        change = torch.zeros_like(g)
        for k in motion.unique().tolist():
            own = motion == k
            change = torch.where(own, self._along(t, y, torch.where(own, g, 0.0)), change)
        return change

    def _along(self, t: Tensor, y: Any, direction: Any) -> Any:
        return along(lambda at: self.g(t, at), y, direction)

    def _check(self, t: Tensor, y: Any) -> None:
        """Once, where g is evaluated first."""
        self.checked = True
        if mixes_entries(lambda at: self.g(t, at), y):
            raise ValueError(
                "a DiagonalNoise diffusion can only be converted if entry i of g depends on entry i of y alone, but "
                "this one mixes entries. Give it as GeneralNoise(), with torch.diag_embed(g)."
            )


def _first(values: Any) -> Tensor:
    found: list[Tensor] = []
    tree_map(lambda leaf: found.append(leaf), values)
    return found[0]
