"""What a user gives, checked as torchsde checks it."""

import warnings
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.compat.torchsde.derived import BrownianPath, BrownianTree
from sciml.compat.torchsde.interval import BrownianInterval
from sciml.compat.torchsde.methods import TABLE, check_method, default_method
from sciml.compat.torchsde.sde import Renamed, WithLogRatio
from sciml.compat.torchsde.settings import METHODS, NOISE_TYPES, SDE_TYPES


@final
@dataclass(frozen=True, eq=False)
class Call:
    """A checked call.

    Args:
        sde: the equation, renamed and with the log ratio if asked for.
        y0: initial state, (batch, channel).
        ts: times, rising.
        bm: Brownian motion, (batch, noise).
        method: a name.
        dt: step size, or the first one.
        adaptive: choose steps by tolerance.
        rtol, atol, dt_min: of adaptive steps.
        options: of the method.
        differentiable: whether drift or diffusion at the start are recorded by autograd, or y0 requires a gradient.
    """

    sde: Any
    y0: Tensor
    ts: Tensor
    bm: Any
    method: str
    dt: float
    adaptive: bool
    rtol: float
    atol: float
    dt_min: float
    options: dict[str, Any]
    differentiable: bool


def make_call(
    sde: Any,
    y0: Any,
    ts: Any,
    bm: Any,
    method: str | None,
    dt: Any,
    adaptive: bool,
    tolerances: dict[str, Any],
    options: dict[str, Any] | None,
    names: dict[str, str] | None,
    logqp: bool,
) -> Call:
    """Check a call, and complete what was left out.

    Raises:
        TypeError: if `sde` is a class.
        ValueError: for arguments that cannot work.
    """
    if isinstance(sde, type):
        raise TypeError(f"`sde` must be an object, got the class {sde.__name__} itself. Make one: {sde.__name__}(...).")
    if names:
        sde = Renamed(sde, names)
    for name, words in (("noise_type", NOISE_TYPES), ("sde_type", SDE_TYPES)):
        if not hasattr(sde, name):
            raise ValueError(f"`sde` must have the attribute `{name}`, one of {words}, got none. Set it.")
        if getattr(sde, name) not in words:
            raise ValueError(f"`{name}` must be one of {words}, got {getattr(sde, name)!r}. Give one of these.")
    if not isinstance(y0, Tensor) or y0.ndim != 2:
        got = f"shape {tuple(y0.shape)}" if isinstance(y0, Tensor) else f"a {type(y0).__name__}"
        raise ValueError(f"`y0` must be a tensor of shape (batch, channels), got {got}. Reshape it.")
    if logqp:
        sde = WithLogRatio(sde)
        y0 = torch.cat([y0, y0.new_zeros(len(y0), 1)], dim=1)
    method = method or default_method(sde.sde_type, sde.noise_type)
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}, got {method!r}. Give one of these.")
    ts = _times(ts, y0)
    channels, differentiable = _noise_channels(sde, y0, ts[0], bm)
    _check_numbers({"ts": ts, "dt": dt, **tolerances})
    levy = TABLE[method].levy
    if bm is None:
        size = (len(y0), channels)
        options_of_bm = {"dtype": y0.dtype, "device": y0.device, "levy_area_approximation": levy[0]}
        bm = BrownianInterval(t0=ts[0], t1=ts[-1], size=size, **options_of_bm)
    else:
        _check_covers(bm, ts)
    if adaptive and method == METHODS.euler and sde.noise_type != NOISE_TYPES.additive:
        warnings.warn(
            "adaptive steps of the Euler-Maruyama method need not converge to the solution unless the noise is "
            "additive. Use fixed steps, or another method.",
            stacklevel=3,
        )
    if method == METHODS.adjoint_reversible_heun:
        raise ValueError(f'"{method}" is an adjoint method only, got it as `method`. Give "reversible_heun".')
    check_method(method, sde.sde_type, sde.noise_type)
    if bm.levy_area_approximation not in levy:
        raise ValueError(
            f'"{method}" needs a Brownian motion whose `levy_area_approximation` is one of {levy}, got '
            f'"{bm.levy_area_approximation}". Make it with one of these.'
        )
    numbers = {name: float(value) for name, value in tolerances.items()}
    if not float(dt) > 0:
        raise ValueError(f"`dt` must be positive, got {float(dt):g}. Give the size of a step.")
    return Call(
        sde, y0, ts, bm, method, float(dt), bool(adaptive), **numbers, options={**(options or {})},
        differentiable=torch.is_grad_enabled() and (differentiable or y0.requires_grad),
    )  # fmt: skip


def _times(ts: Any, y0: Tensor) -> Tensor:
    if not isinstance(ts, Tensor):
        if not isinstance(ts, tuple | list) or not all(isinstance(t, float | int) for t in ts):
            raise ValueError(f"`ts` must be a 1-D tensor or a list of numbers, got {ts!r}. Give the times.")
        ts = torch.tensor(ts, dtype=y0.dtype, device=y0.device)
    if ts.ndim != 1 or len(ts) == 0:
        raise ValueError(f"`ts` must hold one or more times along one axis, got shape {tuple(ts.shape)}. Give (time,).")
    if not bool((ts[1:] > ts[:-1]).all()):
        raise ValueError(f"`ts` must increase strictly, got {ts.tolist()}. Sort the times and drop repeats.")
    return ts


def _check_covers(bm: Any, ts: Tensor) -> None:
    """Raise unless a Brownian motion of ours, whose ends are known, spans all times, but for rounding."""
    inner = bm.inner if isinstance(bm, BrownianPath | BrownianTree) else bm
    if not isinstance(inner, BrownianInterval):
        return
    t0, t1, slack = float(ts[0]), float(ts[-1]), 1e-5 * float(ts[-1] - ts[0])
    if not (inner._t0 <= t0 + slack and t1 <= inner._t1 + slack):
        raise ValueError(
            f"`bm` must span the times, {t0:g} to {t1:g}, got one from {inner._t0:g} to {inner._t1:g}. Make it with "
            "t0=ts[0] and t1=ts[-1]."
        )


def _check_numbers(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Tensor) and value.requires_grad:
            raise ValueError(f"`{name}` must not require a gradient, got one that does. Detach it.")


def _noise_channels(sde: Any, y0: Tensor, t: Tensor, bm: Any) -> tuple[int, bool]:
    """How many Brownian motions there are, and whether what was evaluated is recorded by autograd."""
    shapes: dict[str, list[tuple[int, ...]]] = {"batch": [(len(y0),)], "state": [tuple(y0.shape[1:])], "noise": []}
    if bm is not None:
        if len(bm.shape) != 2:
            raise ValueError(f"`bm` must have shape (batch, noise channels), got {tuple(bm.shape)}. Change its size.")
        shapes["batch"].append((bm.shape[0],))
        shapes["noise"].append((bm.shape[1],))
    drifts, diffusions, products = _evaluated(sde, y0, t, shapes)
    if not drifts:
        raise ValueError("`sde` must have a drift, got none. Define f, f_and_g or f_and_g_prod.")
    if not diffusions and not products:
        raise ValueError("`sde` must have a diffusion, got none. Define g, f_and_g, g_prod or f_and_g_prod.")
    for name, sizes in shapes.items():
        if any(size != sizes[0] for size in sizes):
            raise ValueError(
                f"all sizes must agree, got {name} sizes {[size[0] for size in sizes]} in y0, bm, drift and diffusion. "
                "Check their shapes."
            )
    channels = shapes["noise"][0][0]
    if sde.noise_type == NOISE_TYPES.scalar and channels != 1:
        raise ValueError(f"scalar noise must have one channel, got {channels}. Choose another `noise_type`.")
    return channels, any(value.requires_grad for value in (*drifts, *diffusions, *products))


def _evaluated(
    sde: Any, y0: Tensor, t: Tensor, shapes: dict[str, list[tuple[int, ...]]]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Drifts, diffusions and products at the start, whose sizes are noted in `shapes`."""
    drifts, diffusions, products = [], [], []
    if hasattr(sde, "f"):
        drifts.append(sde.f(t, y0))
    if hasattr(sde, "g"):
        diffusions.append(sde.g(t, y0))
    if hasattr(sde, "f_and_g"):
        f, g = sde.f_and_g(t, y0)
        drifts.append(f)
        diffusions.append(g)
    for g in diffusions:
        _note_diffusion(tuple(g.shape), sde.noise_type, shapes)
    if hasattr(sde, "g_prod") or hasattr(sde, "f_and_g_prod"):
        if not shapes["noise"]:
            raise ValueError("the number of Brownian motions must be told by `bm`, g or f_and_g, got none. Pass `bm`.")
        v = torch.randn(len(y0), *shapes["noise"][0], dtype=y0.dtype, device=y0.device)
        if hasattr(sde, "g_prod"):
            products.append(sde.g_prod(t, y0, v))
        if hasattr(sde, "f_and_g_prod"):
            f, product = sde.f_and_g_prod(t, y0, v)
            drifts.append(f)
            products.append(product)
    for name, values in (("drift", drifts), ("product of the diffusion", products)):
        for value in values:
            if value.ndim != 2:
                raise ValueError(
                    f"the {name} must have shape (batch, state channels), got {tuple(value.shape)}. Reshape it."
                )
            shapes["batch"].append((value.shape[0],))
            shapes["state"].append((value.shape[1],))
    return drifts, diffusions, products


def _note_diffusion(shape: tuple[int, ...], noise_type: str, shapes: dict[str, list[tuple[int, ...]]]) -> None:
    diagonal = noise_type == NOISE_TYPES.diagonal
    if len(shape) != (2 if diagonal else 3):
        wanted = "(batch, state channels)" if diagonal else "(batch, state channels, noise channels)"
        raise ValueError(f"the diffusion of {noise_type} noise must have shape {wanted}, got {shape}. Reshape it.")
    shapes["batch"].append((shape[0],))
    shapes["state"].append((shape[1],))
    shapes["noise"].append((shape[-1],))
