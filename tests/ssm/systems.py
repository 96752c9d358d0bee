"""Systems of every kind to test with, and the same systems written out as dense matrices, step by step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.ssm.discretise import ZOH, AbstractDiscretisation, AbstractRational, Discrete
from sciml.ssm.matrices import AbstractMatrix, Companion, Dense, Diagonal, DiagonalPlusLowRank
from sciml.ssm.ports import Ports
from sciml.ssm.running import Running
from sciml.ssm.steps import Steps


def make_matrix(kind: type[AbstractMatrix], systems: int, state: int, *, real: bool = False) -> AbstractMatrix:
    """A stable random matrix of a kind, fit to be a flow or a map."""
    decay = 0.2 + torch.rand(systems, state)
    a = torch.complex(-decay, 2 * torch.randn(systems, state))
    if kind is Diagonal:
        return Diagonal(-decay if real else a)
    if kind is DiagonalPlusLowRank:
        return DiagonalPlusLowRank(a, torch.randn(2, systems, state, dtype=a.dtype))
    if kind is Dense:
        return Dense(torch.randn(systems, state, state) / (2 * state) - torch.eye(state) / 2)
    return Companion(torch.randn(systems, state), normalise=True)


@dataclass(frozen=True, eq=False)
class Case:
    """A system, its inputs and where it starts."""

    running: Running
    u: Tensor
    x0: Tensor
    leaves: list[Tensor]


def make_case(
    kind: type[AbstractMatrix],
    rule: AbstractDiscretisation,
    *,
    changing: bool,
    selective: bool,
    dtype: torch.dtype = torch.float64,
    real: bool = False,
    inputs: int = 1,
    outputs: int = 2,
    systems: int = 2,
    state: int = 3,
    batch: int = 2,
    time: int = 11,
    seed: int = 0,
) -> Case:
    """One case, the same numbers in every dtype; everything that can have a gradient is a leaf that does."""
    torch.manual_seed(seed)
    matrix = make_matrix(kind, systems, state, real=real).to(dtype)
    entries = torch.complex128 if matrix.is_complex else torch.float64
    axes = (batch, time) if selective else ()
    b = torch.randn(*axes, systems, state, inputs, dtype=entries)
    c = torch.randn(*axes, systems, outputs, state, dtype=entries)
    discrete = isinstance(rule, Discrete)
    if not changing:
        interval = torch.full((1, 1), 1.0 if discrete else 0.4)
    elif discrete:
        interval = torch.randint(0, 3, (batch, time)).double()
    else:
        interval = torch.rand(batch, time)
        interval[0, 3] = 0
    scale = torch.ones(1, 1, 1, 1) if discrete else 0.5 + torch.rand(*(axes or (1, 1)), systems, 1)
    u, x0 = torch.randn(batch, time, systems, inputs), torch.randn(batch, systems, state, dtype=entries)
    b, c, interval, scale, u, x0 = (
        value.to(dtype.to_complex() if value.is_complex() else dtype) for value in (b, c, interval, scale, u, x0)
    )
    leaves = [u, x0, b, c] + ([] if discrete else [scale, interval])
    for leaf in leaves:
        leaf.requires_grad_()
    running = Running(matrix, rule, Steps(interval, scale), Ports(b, c))
    return Case(running, u, x0, [*leaves, *matrix.parameters()])


def written_out(case: Case) -> tuple[Tensor, Tensor]:
    """Outputs and last state by dense real matrices and textbook formulas, one step after the other."""
    running, paired = case.running, case.running.matrix.is_complex
    a, b, c, x = running.matrix.full(), running.ports.b, running.ports.c, case.x0
    if paired:
        b, c = torch.cat([b.real, b.imag], dim=-2), 2 * torch.cat([c.real, -c.imag], dim=-1)
        x = torch.cat([x.real, x.imag], dim=-1)
    step = running.steps.product.expand(*case.u.shape[:2], case.u.shape[2], 1)
    outputs = []
    for k in range(case.u.shape[1]):
        b_k, c_k = (v[:, k] if v.ndim == 5 else v for v in (b, c))
        force = (b_k @ case.u[:, k].unsqueeze(-1)).squeeze(-1)
        x = _one_step(a, running.rule, step[:, k].unsqueeze(-1), x, force)
        outputs.append((c_k @ x.unsqueeze(-1)).squeeze(-1))
    last = torch.complex(*x.chunk(2, dim=-1)) if paired else x
    return torch.stack(outputs, dim=1), last


def _one_step(a: Tensor, rule: AbstractDiscretisation, step: Tensor, x: Tensor, force: Tensor) -> Tensor:
    eye = torch.eye(a.shape[-1], dtype=a.dtype)
    x, force = x.unsqueeze(-1), force.unsqueeze(-1)
    if isinstance(rule, Discrete):
        for m in range(1, int(step.max()) + 1):
            x = torch.where(step >= m, a @ x + force, x)
        return x.squeeze(-1)
    z = step * a
    if isinstance(rule, AbstractRational):
        moved = torch.linalg.solve(eye - rule.alpha * z, x + (1 - rule.alpha) * z @ x + step * force)
    else:
        factor = torch.linalg.matrix_exp(z)
        held = torch.linalg.solve(a, (factor - eye) @ force) if isinstance(rule, ZOH) else step * force
        moved = factor @ x + held
    return moved.squeeze(-1)
