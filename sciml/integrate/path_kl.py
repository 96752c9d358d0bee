"""The Kullback-Leibler divergence between two SDEs that share their diffusion, accumulated along the solve (Girsanov):

    dy = f_post dt + g dW,    KL(post | prior) = E 1/2 int |u|² dt,    g u = f_post - f_prior

Both drifts are in the sense of the term; the corrections from one sense to the other cancel, for g is the same.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sciml.core import State, tree_leaves
from sciml.core.checks import check_positive
from sciml.core.transforms import is_transforming
from sciml.integrate.noise import AbstractNoise, ScalarNoise, SharedNoise
from sciml.integrate.terms import SDE, Field, SemiLinear
from sciml.paths import AbstractPath, Increment


class WithKL(NamedTuple):
    """A state and its divergence so far.

    Args:
        y: the state, (batch, *state), or a tree of such.
        kl: the divergence of each sample's path up to now, in nats, (batch, 1); its mean over paths is the divergence.
    """

    y: State
    kl: Tensor

    @staticmethod
    def start(y0: State) -> "WithKL":
        """A state whose divergence is still 0."""
        leaf = tree_leaves(y0)[0]
        return WithKL(y0, leaf.new_zeros(len(leaf), 1))


def with_kl(term: SDE, prior: Any, *, floor: float = 1e-6) -> SDE:
    """The term with one more number in its state, which grows by the divergence from the same term with drift `prior`.

        kl(t) = 1/2 int |u|² ds

    Solve it from `WithKL.start(y0)`; the state is `WithKL(y, kl)` then, with y what it was without, on the same path.
    Equal drifts give exactly 0. With noise in all directions, |u|² = d^T (g g^T + floor²)^-1 d for d the difference, so
    that it stays finite where g is 0. With fewer Brownian motions than numbers in the state u is the least-squares
    solution of g u = d. Where there is none the divergence is infinite: an error where the drifts of a sample differ
    first, and later kl = inf, with which the sample fails.

    Args:
        term: the posterior; its drift is f_post.
        prior: f_prior(t, y), [state/time].
        floor: a diffusion much smaller than this counts as this, [state/time^(1/2)].

    Raises:
        TypeError: if `prior` cannot be called, the drift is `SemiLinear`, or the noise `SharedNoise`.
        ValueError: unless `floor` is positive, or for a path with a covariance of its own; during the solve, if the
            difference of the drifts is not in the range of g.

    Source: Li, Wong, Chen & Duvenaud (2020), arXiv 2001.01328, (10); Oksendal (2003), theorem 8.6.6.
    """
    check_positive("floor", floor)
    if not callable(prior):
        raise TypeError(f"`prior` must be a function or a module, got a {type(prior).__name__}. Give f_prior(t, y).")
    if isinstance(term.f, SemiLinear):
        raise TypeError(
            "the divergence needs the whole drift as one function, got SemiLinear. Write L y + N(t, y) as one function."
        )
    if getattr(term.path, "factor", None) is not None:
        raise ValueError(
            "the divergence is for independent Brownian motions of variance t, got a path with a covariance. Leave it "
            "out of the path and multiply g by its factor."
        )
    if isinstance(term.structure, SharedNoise):
        raise TypeError(
            "the divergence is for noise that is entry by entry, scalar or a matrix, got SharedNoise. Give the matrix "
            "g[..., None] * one_hot(motion) as GeneralNoise()."
        )
    path = OneMore(term.path) if _entrywise(term.structure) else term.path
    drift = _Drift(term.f, term.g, _Rate(prior, term.structure, floor))
    return SDE(drift, _Diffusion(term.g, term.structure), path, structure=term.structure, sense=term.sense)


@final
class OneMore(AbstractPath):
    """A path with one more channel, in which nothing happens: channels flat, (batch, channel + 1).

    Args:
        path: the others.
    """

    def __init__(self, path: Any) -> None:
        self.path = path
        self.knots = path.knots
        self.dtype, self.batch = path.dtype, path.batch
        self.shape = (int(torch.Size(path.shape).numel()) + 1,)
        self.resolution = getattr(path, "resolution", 0.0)

    def resolves(self, ts: Any) -> bool:
        """See `BrownianMotion.resolves`."""
        resolves = getattr(self.path, "resolves", None)
        return resolves is None or resolves(ts)

    def increment(self, t0: Any, t1: Any) -> Increment:
        """See `AbstractPath.increment`."""
        made = self.path.increment(t0, t1)
        if made.area is not None:
            made = made._replace(area=torch.nn.functional.pad(made.area, (0, 1, 0, 1)))
        w, h, k = (None if part is None else _padded(part) for part in (made.w, made.h, made.k))
        assert w is not None
        return Increment(w, h, k, made.area)

    def value(self, t: Any) -> Tensor:
        """See `AbstractPath.value`."""
        return _padded(self.path.value(t))

    def derivative(self, t: Any) -> Tensor:
        """See `AbstractPath.derivative`."""
        return _padded(self.path.derivative(t))


def _padded(part: Tensor) -> Tensor:
    return torch.nn.functional.pad(part.reshape(len(part), -1), (0, 1))


@final
@dataclass(frozen=True, eq=False)
class _Drift:
    """Of the state, and the rate at which its divergence grows."""

    f: Field
    g: Field
    rate: "_Rate"

    def __call__(self, t: Tensor, state: WithKL) -> WithKL:
        f = self.f(t, state.y)
        return WithKL(f, self.rate(t, state.y, f, self.g(t, state.y)))


@final
@dataclass(frozen=True, eq=False)
class _Diffusion:
    """Of the state, and none of its divergence."""

    g: Field
    structure: AbstractNoise

    def __call__(self, t: Tensor, state: WithKL) -> WithKL:
        g = self.g(t, state.y)
        leaf = tree_leaves(g)[0]
        shape = (len(leaf), 1, leaf.shape[-1]) if self.structure.is_matrix else (len(leaf), 1)
        return WithKL(g, leaf.new_zeros(shape))


@final
class _Rate:
    """1/2 |u|² with g u = f - prior, per sample, (batch, 1)."""

    def __init__(self, prior: Field, structure: AbstractNoise, floor: float) -> None:
        self.prior, self.structure, self.floor = prior, structure, floor
        self.checked = False

    def __call__(self, t: Tensor, y: State, f: State, g: State) -> Tensor:
        d = _rows(tree_map(torch.sub, f, self.prior(t, y)), 0)
        if _entrywise(self.structure):
            return 0.5 * (d.square() / (_rows(g, 0).square() + self.floor**2)).sum(1, keepdim=True)
        columns = _rows(g, 1) if self.structure.is_matrix else _rows(g, 0).unsqueeze(-1)
        return self._of_matrix(columns, d)

    def _of_matrix(self, g: Tensor, d: Tensor) -> Tensor:
        """1/2 |u|², (batch, 1), by an orthogonal factor: g g^T would square the condition of g."""
        rows, columns = g.shape[1:]
        wide = columns >= rows
        ridge = self.floor * torch.eye(min(rows, columns), dtype=g.dtype, device=g.device).expand(len(g), -1, -1)
        tall = torch.cat([g.mT if wide else g, ridge], dim=1)
        q, r = torch.linalg.qr(tall)
        if wide:  # d^T (g g^T + floor²)^-1 d with R^T R = g g^T + floor²
            return _half_square(torch.linalg.solve_triangular(r.mT, d.unsqueeze(-1), upper=False))
        u = torch.linalg.solve_triangular(r, q[:, :rows].mT @ d.unsqueeze(-1), upper=True)
        outside = self._outside(g, u, d, r)
        return torch.where(outside, torch.inf, _half_square(u))

    @torch.no_grad()
    def _outside(self, g: Tensor, u: Tensor, d: Tensor, r: Tensor) -> Tensor:
        """Which samples' differences are not in the range of g, (batch, 1). What the floor makes of a g that vanishes
        does not count, unless far above it.

        Raises:
            ValueError: where drifts differ for the first time, if one is not: one read of the device.
        """
        off = torch.linalg.vector_norm((g @ u).squeeze(-1) - d, dim=1, keepdim=True)
        size = torch.linalg.vector_norm(d, dim=1, keepdim=True)
        clear = r.diagonal(dim1=-2, dim2=-1).abs().amin(dim=1, keepdim=True) > 30 * self.floor
        outside = (off > 1e-2 * size) & (clear | (off > 1e3 * self.floor))
        if not self.checked and not torch.compiler.is_compiling() and not is_transforming() and bool((size > 0).any()):
            self.checked = True
            if bool(outside.any()):
                share = float((off / size)[outside].max())
                raise ValueError(
                    "the drifts may differ only in directions in which there is noise, else the divergence is "
                    f"infinite; with {g.shape[2]} Brownian motions for {g.shape[1]} numbers {share:.0%} of a sample's "
                    "difference lies outside of the range of g. Add noise there, or let both drifts agree there."
                )
        return outside


def _half_square(u: Tensor) -> Tensor:
    return 0.5 * u.squeeze(-1).square().sum(1, keepdim=True)


def _entrywise(structure: AbstractNoise) -> bool:
    """Whether every number of the state has a Brownian motion of its own."""
    return not structure.is_matrix and not isinstance(structure, ScalarNoise)


def _rows(tree: State, keep: int) -> Tensor:
    """All leaves of a sample in one vector, the last `keep` axes left as they are."""
    leaves = tree_leaves(tree)
    parts = [leaf.reshape(len(leaf), -1, *leaf.shape[leaf.ndim - keep :]) for leaf in leaves]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
