"""`sdeint_adjoint`: gradients in little memory.

torchsde solves an adjoint equation backwards, whose steps make an error of their own. Here the steps of the forward
solve are taken again from few stored states, or taken back where the method can ("reversible_heun"): gradients are
those of the steps as they were taken, whatever `adjoint_method` and its companions ask for.
"""

from typing import Any, final

import torch
from torch import Tensor, nn

from sciml.compat.torchsde.inputs import make_call
from sciml.compat.torchsde.methods import check_adjoint_method, default_adjoint_method
from sciml.compat.torchsde.run import Run, direct
from sciml.compat.torchsde.sdeint import presented, warn_unused
from sciml.compat.torchsde.settings import METHODS
from sciml.integrate import AbstractGradient, Checkpoint, Direct, Reversible


def sdeint_adjoint(
    sde: Any,
    y0: Any,
    ts: Any,
    bm: Any = None,
    method: str | None = None,
    adjoint_method: str | None = None,
    dt: Any = 1e-3,
    adaptive: bool = False,
    adjoint_adaptive: bool = False,
    rtol: Any = 1e-5,
    adjoint_rtol: Any = 1e-5,
    atol: Any = 1e-4,
    adjoint_atol: Any = 1e-4,
    dt_min: Any = 1e-5,
    options: dict[str, Any] | None = None,
    adjoint_options: dict[str, Any] | None = None,
    adjoint_params: Any = None,
    names: dict[str, str] | None = None,
    logqp: bool = False,
    extra: bool = False,
    extra_solver_state: Any = None,
    **unused_kwargs: Any,
) -> Any:
    """As `sdeint`, with gradients that need the memory of few steps.

    Where `extra` or `extra_solver_state` are asked for, or the equation has products g w only, the memory is that of
    all steps. Gradients can be differentiated again, in that memory too.

    Args:
        sde, y0, ts, bm, method, dt, adaptive, rtol, atol, dt_min, options, names, logqp, extra, extra_solver_state: see
            `sdeint`.
        adjoint_method, adjoint_options: refused where torchsde refuses them; else they change nothing, but for
            "adjoint_reversible_heun", by which the steps of "reversible_heun" are taken back.
        adjoint_adaptive, adjoint_rtol, adjoint_atol: they change nothing.
        adjoint_params: what gets gradients beside `y0`; by default the parameters of the module `sde`.

    Raises:
        ValueError: if parameters cannot be known, or a tensor that requires a gradient is none of them.
    """
    warn_unused("sdeint_adjoint", unused_kwargs)
    if adjoint_params is None and not isinstance(sde, nn.Module):
        raise ValueError(
            f"`adjoint_params` must be given unless `sde` is a module, got a {type(sde).__name__}. Pass the tensors it "
            "depends on, or () if there are none."
        )
    given = tuple(sde.parameters() if adjoint_params is None else adjoint_params)
    params = tuple(parameter for parameter in given if parameter.requires_grad)
    tolerances = {"rtol": rtol, "atol": atol, "dt_min": dt_min}
    call = make_call(sde, y0, ts, bm, method, dt, adaptive, tolerances, options, names, logqp)
    for name, value in {"adjoint_rtol": adjoint_rtol, "adjoint_atol": adjoint_atol}.items():
        if isinstance(value, Tensor) and value.requires_grad:
            raise ValueError(f"`{name}` must not require a gradient, got one that does. Detach it.")
    run, inputs = Run(call, extra), (call.y0, *(extra_solver_state or ()), *params)
    if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in inputs):
        with torch.no_grad():
            ys, *carried = direct(run, extra_solver_state)
        return presented(ys, tuple(carried), logqp, extra)
    kind, noise = call.sde.sde_type, call.sde.noise_type
    adjoint = adjoint_method or default_adjoint_method(call.method, kind, noise)
    check_adjoint_method(adjoint, call.method, kind, noise, adjoint_options or {})
    gradient = Reversible() if adjoint == METHODS.adjoint_reversible_heun else Checkpoint()
    count = None if extra_solver_state is None else len(extra_solver_state)
    ys, *carried = _Adjoint.apply(run, gradient, count, *inputs)  # type: ignore[misc]
    return presented(ys, tuple(carried), logqp, extra)


@final
class _Adjoint(torch.autograd.Function):
    """A run as a function of the initial state, the solver's own, and the parameters: of nothing else."""

    @staticmethod
    def forward(ctx: Any, run: Run, gradient: AbstractGradient, count: int | None, *inputs: Tensor) -> Any:
        y0, *others = inputs
        extra0 = None if count is None else tuple(x.detach().requires_grad_() for x in others[:count])
        params = tuple(others[count or 0 :])
        with torch.enable_grad():
            y = y0.detach().requires_grad_()
            try:
                made = run(y, extra0, gradient, params)
            except ValueError as error:
                error.add_note("Here `params` are `adjoint_params`: pass (*sde.parameters(), tensor), or use sdeint.")
                raise
        ctx.save_for_backward(*inputs)
        ctx.run, ctx.count, ctx.made, ctx.told = run, count, made, (y, *(extra0 or ()))
        return tuple(value.detach() for value in made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # type: ignore[override]
        inputs, made = ctx.saved_tensors, ctx.made
        again = torch.is_grad_enabled()
        places = (*ctx.told, *inputs[len(ctx.told) :])
        if again:  # to be differentiated once more: as autograd records it
            count, places = ctx.count, inputs
            made = ctx.run(inputs[0], None if count is None else inputs[1 : 1 + count], Direct())
        needed = [i for i, x in enumerate(inputs) if x.requires_grad]
        pairs = [(value, g) for value, g in zip(made, gradients, strict=True) if value.requires_grad]
        found: list[Any] = [None] * len(inputs)
        if pairs:
            values, weights = zip(*pairs, strict=True)
            wanted = [places[i] for i in needed]
            graph = {"allow_unused": True, "create_graph": again, "retain_graph": True}
            for i, value in zip(needed, torch.autograd.grad(values, wanted, weights, **graph), strict=True):
                found[i] = torch.zeros_like(inputs[i]) if value is None else value
        return None, None, None, *found
