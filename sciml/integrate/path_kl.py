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
from sciml.integrate.noise import AbstractNoise, ScalarNoise
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
    solution of g u = d; that there is a solution, without which the divergence is infinite, is looked at once.

    Args:
        term: the posterior; its drift is f_post.
        prior: f_prior(t, y), [state/time].
        floor: a diffusion much smaller than this counts as this, [state/time^(1/2)].

    Raises:
        TypeError: if `prior` cannot be called, or the drift is `SemiLinear`.
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
        return 0.5 * self._of_matrix(columns, d).square().sum(1, keepdim=True)

    def _of_matrix(self, g: Tensor, d: Tensor) -> Tensor:
        """What has the norm of u, (batch, ...), by an orthogonal factor: g g^T would square the condition of g."""
        rows, columns = g.shape[1:]
        wide = columns >= rows
        ridge = self.floor * torch.eye(min(rows, columns), dtype=g.dtype, device=g.device).expand(len(g), -1, -1)
        tall = torch.cat([g.mT if wide else g, ridge], dim=1)
        q, r = torch.linalg.qr(tall)
        if wide:  # d^T (g g^T + floor²)^-1 d with R^T R = g g^T + floor²
            return torch.linalg.solve_triangular(r.mT, d.unsqueeze(-1), upper=False).squeeze(-1)
        u = torch.linalg.solve_triangular(r, q[:, :rows].mT @ d.unsqueeze(-1), upper=True)
        if not self.checked:
            self._check(g, u, d)
        return u.squeeze(-1)

    @torch.no_grad()
    def _check(self, g: Tensor, u: Tensor, d: Tensor) -> None:
        """Raise if the difference is not in the range of g."""
        self.checked = True
        left = (g @ u).squeeze(-1) - d
        if float(left.norm()) > 1e-2 * float(d.norm()):
            raise ValueError(
                f"the drifts may differ only in directions in which there is noise, else the divergence is infinite; "
                f"with {g.shape[2]} Brownian motions for {g.shape[1]} numbers {float(left.norm() / d.norm()):.0%} of "
                "the difference lies outside of the range of g. Add noise there, or let both drifts agree there."
            )


def _entrywise(structure: AbstractNoise) -> bool:
    """Whether every number of the state has a Brownian motion of its own."""
    return not structure.is_matrix and not isinstance(structure, ScalarNoise)


def _rows(tree: State, keep: int) -> Tensor:
    """All leaves of a sample in one vector, the last `keep` axes left as they are."""
    leaves = tree_leaves(tree)
    parts = [leaf.reshape(len(leaf), -1, *leaf.shape[leaf.ndim - keep :]) for leaf in leaves]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
