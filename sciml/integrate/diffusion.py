"""The diffusion and the Brownian motion as methods call them: flat states in, everything checked."""

from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten

from sciml.core.transforms import is_differentiated, is_transforming, unrecorded
from sciml.integrate.control import Times
from sciml.integrate.field import FlatField
from sciml.integrate.flat import Flat, first_leaf, leaves_of, map_leaves, real_dtype, restore
from sciml.integrate.noise import AbstractNoise, AdditiveNoise, DiagonalNoise, Ito
from sciml.integrate.terms import SDE, Field, Langevin, SemiLinear
from sciml.paths import slack_of


@final
@dataclass(eq=False)
class FlatDiffusion:
    """g on flat states.

    Args:
        g: the user's diffusion.
        structure: of the state, None for a single tensor.
        noise: what g looks like.
        count: of Brownian motions, for noise with an axis for them.
    """

    g: Field
    structure: TreeSpec | None
    noise: AbstractNoise
    count: int
    _checked_additive: bool = field(default=False, init=False, repr=False)

    def __call__(self, t: Tensor, y: Flat) -> Flat:
        """g(t, y), in the dtype of the state also under automatic mixed precision.

        Raises:
            TypeError, ValueError: unless the result has the shapes that the structure of the noise asks for, and is the
                same for another state where the noise is additive.
        """
        if not torch.compiler.is_compiling() and isinstance(self.noise, AdditiveNoise) and not self._checked_additive:
            self._check_additive(t, y)
        return self._value(t, y)

    def _check_additive(self, t: Tensor, y: Flat) -> None:
        """Once per solve, at two states; where values cannot be read, it is taken on trust."""
        self._checked_additive = True
        if is_transforming():
            return
        with unrecorded():
            there = map_leaves(lambda leaf: 1.25 * leaf.detach() + 0.5, y)
            values = zip(leaves_of(self._value(t, y)), leaves_of(self._value(t, there)), strict=True)
            changes = [float((a - b).abs().max() / (1e-30 + a.abs().max())) for a, b in values if a.numel()]
        if any(change > 1e3 * torch.finfo(real_dtype(y)).eps for change in changes):
            raise ValueError(
                "the diffusion of AdditiveNoise() must not depend on the state, but from one state to another it "
                f"changes by {max(changes):.2g} of its size. Choose DiagonalNoise(), ScalarNoise() or GeneralNoise()."
            )

    def _value(self, t: Tensor, y: Flat) -> Flat:
        value: Any = self.g(t, restore(y, self.structure))
        wanted = self._wanted(first_leaf(y)) if self.structure is None else None
        if wanted is not None and isinstance(value, Tensor) and value.shape == wanted and value.dtype == y.dtype:  # type: ignore[union-attr]
            return value
        return self._checked(value, y)

    def _wanted(self, leaf: Tensor) -> tuple[int, ...]:
        return (*leaf.shape, self.count) if self.noise.is_matrix else tuple(leaf.shape)

    def _checked(self, value: Any, y: Flat) -> Flat:
        if self.structure is None:
            leaves = (value,)
        else:
            leaves, given = tree_flatten(value)
            if given != self.structure:
                raise TypeError(
                    f"the diffusion must return the structure of the state, {self.structure}, got {given}. Return the "
                    "diffusion of every leaf in its place."
                )
        made = []
        for part, leaf in zip(leaves, leaves_of(y), strict=True):
            if not isinstance(part, Tensor):
                raise TypeError(f"the diffusion must return tensors, got a {type(part).__name__}. Return g(t, y).")
            if torch.is_autocast_enabled(leaf.device.type) and part.dtype in (torch.float16, torch.bfloat16):
                part = part.to(leaf.dtype)
            self._check_shape(part, leaf)
            made.append(part)
        return made[0] if self.structure is None else tuple(made)

    def _check_shape(self, part: Tensor, leaf: Tensor) -> None:
        wanted, name = self._wanted(leaf), repr(self.noise)
        if part.shape == wanted and part.dtype == leaf.dtype:
            return
        if self.noise.is_matrix:
            shape = f"the shape of the state and one more axis for the {self.count} Brownian motions, {wanted}"
            remedy = "Return one column per Brownian motion, or choose DiagonalNoise() for a g like the state."
        else:
            shape = f"the shape of the state, {wanted}"
            remedy = "Drop the further axis, or choose GeneralNoise() or AdditiveNoise() for a matrix."
        if part.ndim and part.dtype == leaf.dtype and part.shape == wanted[1:]:
            expanded = "expand(len(y), " + "-1, " * (part.ndim - 1) + "-1)" if self.noise.is_matrix else "expand_as(y)"
            remedy = f"Its batch axis is missing: return g.{expanded}."
        if part.dtype != leaf.dtype:
            remedy = "Bring parameters and state to one dtype."
        raise ValueError(
            f"the diffusion of {name} must have {shape}, and {leaf.dtype}, got {tuple(part.shape)} and "
            f"{part.dtype}. {remedy}"
        )


def flat_langevin(term: Langevin, y: Flat, watched: int) -> Langevin:
    """The term with a force that is checked, and a Brownian motion that fits the state.

    Raises:
        ValueError, TypeError: if the Brownian motion does not fit the state.
    """
    _check_path(term.path, DiagonalNoise(), leaves_of(y)[0])
    return replace(term, force=FlatField(term.force, None, watched=watched))


def flat_sde(term: SDE, y: Flat, structure: TreeSpec | None, watched: int) -> SDE:
    """The term on flat states, with a Brownian motion that fits them.

    Args:
        term: as given.
        y: the initial state.
        structure: of the state.
        watched: see `FlatField`.

    Raises:
        ValueError, TypeError: if the Brownian motion does not fit the state.
    """
    shape = _check_path(term.path, term.structure, y)
    drift = term.f if isinstance(term.f, SemiLinear) else FlatField(term.f, structure, watched=watched)
    count = shape[-1] if shape else 1
    return replace(term, f=drift, g=FlatDiffusion(term.g, structure, term.structure, count))


def _check_path(path: Any, noise: AbstractNoise, y: Flat) -> tuple[int, ...]:
    """The shape of the noise of a sample, if it fits the state."""
    shape = tuple(getattr(path, "shape", ()))
    needed = noise.noise_shape(y, shape)
    if needed is not None:
        raise ValueError(
            f"{noise!r} noise of a state of shape {[tuple(leaf.shape) for leaf in leaves_of(y)]} needs a path "
            f"of shape {needed} per sample, got {shape}. Give BrownianMotion(key, {needed}, ...)."
        )
    dtype = getattr(path, "dtype", None)
    if dtype is not None and dtype != real_dtype(y):
        raise TypeError(
            f"`path` must have the precision of the state, {real_dtype(y)}, got {dtype}. Give "
            f"BrownianMotion(..., dtype={real_dtype(y)})."
        )
    batch = getattr(path, "batch", None)
    if isinstance(batch, int) and batch != len(first_leaf(y)):
        raise ValueError(
            f"`path` must have one row per sample, {len(first_leaf(y))}, got {batch}. Make its key with one id per row."
        )
    return shape


def check_covers(term: SDE | Langevin, t0: float | Tensor, t1: float | Tensor) -> None:
    """Raise unless the path covers the interval, and Ito terms run forwards.

    Raises:
        ValueError: if not, or if a time is differentiated.
    """
    if any(isinstance(t, Tensor) and is_differentiated(t) for t in (t0, t1)):
        raise times_have_no_gradient("`t0` or `t1`")
    ends = [torch.as_tensor(t).detach().double() for t in (t0, t1)]
    low = float(torch.minimum(*torch.broadcast_tensors(*ends)).min())
    high = float(torch.maximum(*torch.broadcast_tensors(*ends)).max())
    if limits_differ(term) and bool((ends[1] < ends[0]).any()):
        raise ValueError(
            f"an Ito term runs forwards only, got t0={float(ends[0].max()):g} and t1={float(ends[1].min()):g}. Convert "
            "it with to_stratonovich(term), which can be taken backwards."
        )
    knots = getattr(term.path, "knots", None)
    if knots is None or len(knots) == 0:
        return
    first, last = float(knots[0]), float(knots[-1])
    slack = slack_of(first, last)
    if low < first - slack or high > last + slack:
        raise ValueError(
            f"`path` must cover the whole interval from {low:.12g} to {high:.12g}, got knots from "
            f"{first:.12g} to {last:.12g}. "
            "Make it over the interval of the solve."
        )


def limits_differ(term: SDE | Langevin) -> bool:
    """Whether the term has another limit where its noise is smooth: Wong and Zakai's, in the sense of Stratonovich."""
    return isinstance(term, SDE) and isinstance(term.sense, Ito) and not isinstance(term.structure, AdditiveNoise)


def times_have_no_gradient(name: str) -> ValueError:
    """What to raise where a time of an equation with noise is differentiated."""
    return ValueError(
        "there are no gradients of the times of an SDE or of Langevin dynamics, for a Brownian path has no slope, but "
        f"{name} is differentiated, or mapped over. Detach it; means over paths may be differentiated by differences "
        "between solves."
    )


def check_resolved(term: SDE | Langevin, times: Times) -> None:
    """Raise if steps of a grid are finer than the path of an Ito term, which is smooth below its resolution.

    Args:
        term: with a path that may have a resolution.
        times: the grid.

    Raises:
        ValueError: if two ends of steps lie in one cell of the path.
    """
    resolves = getattr(term.path, "resolves", None)
    if not limits_differ(term) or resolves is None or resolves(times):
        return
    raise ValueError(
        "steps of an Ito term must not be finer than the path, which is smooth below its resolution: what comes out "
        f"would tend to the Stratonovich equation, got two steps' ends within {term.path.resolution:.3g} of each "
        "other. Give the path more `intervals` or `depth`, or make it with BrownianMotion.on_grid(key, shape, ts)."
    )
