"""`sdeint`."""

import warnings
from typing import Any

import torch
from torch import Tensor

from sciml.compat.torchsde.inputs import make_call
from sciml.compat.torchsde.run import Run, direct


def sdeint(
    sde: Any,
    y0: Any,
    ts: Any,
    bm: Any = None,
    method: str | None = None,
    dt: Any = 1e-3,
    adaptive: bool = False,
    rtol: Any = 1e-5,
    atol: Any = 1e-4,
    dt_min: Any = 1e-5,
    options: dict[str, Any] | None = None,
    names: dict[str, str] | None = None,
    logqp: bool = False,
    extra: bool = False,
    extra_solver_state: Any = None,
    **unused_kwargs: Any,
) -> Any:
    """Integrate dy = f(t, y) dt + g(t, y) dW.

    Args:
        sde: has `noise_type`, `sde_type`, f and g, or f_and_g, g_prod, f_and_g_prod in their place; g gives (batch,
            channel) for diagonal noise, else (batch, channel, noise).
        y0: initial state, (batch, channel).
        ts: times, rising, [time]; the first is that of `y0`.
        bm: Brownian motion, ours or another's with such a call; by default a `BrownianInterval`.
        method: a name of `METHODS`; by default "srk", "euler" or "midpoint", as the equation asks.
        dt: step size, with `adaptive` the first one, [time].
        adaptive: choose steps by tolerance, for the whole batch together.
        rtol, atol, dt_min: of adaptive steps.
        options: of the method: grad_free for "milstein".
        names: other names of "drift", "diffusion", "prior_drift", "drift_and_diffusion", "drift_and_diffusion_prod".
        logqp: also return the divergence from the prior with drift h between times, (time - 1, batch).
        extra: also return what the solver carries.
        extra_solver_state: what it begins with.

    Returns:
        States, (time, batch, channel); with `logqp` and `extra` a tuple with what they ask for.

    Raises:
        ValueError: for arguments that cannot work.
    """
    warn_unused("sdeint", unused_kwargs)
    tolerances = {"rtol": rtol, "atol": atol, "dt_min": dt_min}
    call = make_call(sde, y0, ts, bm, method, dt, adaptive, tolerances, options, names, logqp)
    ys, *carried = direct(Run(call, extra), extra_solver_state)
    return presented(ys, tuple(carried), logqp, extra)


def warn_unused(name: str, unused: dict[str, Any]) -> None:
    """Warn of keywords that are not known."""
    if unused:
        warnings.warn(f"`{name}` has no arguments {sorted(unused)}; they are ignored.", stacklevel=3)


def presented(ys: Tensor, carried: tuple[Tensor, ...], logqp: bool, extra: bool) -> Any:
    """What was asked for, in torchsde's order."""
    results: list[Any] = [ys]
    if logqp:
        results = [ys[..., :-1], torch.diff(ys[..., -1], dim=0)]
    if extra:
        results.append(carried)
    return results[0] if len(results) == 1 else tuple(results)
