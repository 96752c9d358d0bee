"""The classes that equations may inherit from, and what `names` and `logqp` make of an equation."""

import abc
from typing import Any, final

import torch
from torch import Tensor, nn

from sciml.compat.torchsde.settings import NOISE_TYPES, SDE_TYPES

_NAMES = {
    "drift": "f",
    "diffusion": "g",
    "prior_drift": "h",
    "drift_and_diffusion": "f_and_g",
    "drift_and_diffusion_prod": "f_and_g_prod",
}
_SMALL = 1e-7


class BaseSDE(abc.ABC, nn.Module):
    """An equation with the attributes that are needed of one.

    Args:
        noise_type: a word of `NOISE_TYPES`.
        sde_type: a word of `SDE_TYPES`.

    Raises:
        ValueError: for another word.
    """

    def __init__(self, noise_type: str, sde_type: str) -> None:
        super().__init__()
        for name, word, words in (("noise_type", noise_type, NOISE_TYPES), ("sde_type", sde_type, SDE_TYPES)):
            if word not in words:
                raise ValueError(f"`{name}` must be one of {words}, got {word!r}. Give one of these.")
        self.noise_type = noise_type
        self.sde_type = sde_type


class SDEIto(BaseSDE):
    """An equation in the sense of Ito."""

    def __init__(self, noise_type: str) -> None:
        super().__init__(noise_type=noise_type, sde_type=SDE_TYPES.ito)


class SDEStratonovich(BaseSDE):
    """An equation in the sense of Stratonovich."""

    def __init__(self, noise_type: str) -> None:
        super().__init__(noise_type=noise_type, sde_type=SDE_TYPES.stratonovich)


@final
class Renamed:
    """An equation whose functions have names of their own.

    Args:
        sde: the equation.
        names: what stands for the drift and so on, by the keys of `_NAMES`; others are not looked at.
    """

    def __init__(self, sde: Any, names: dict[str, str]) -> None:
        self.sde, self.noise_type, self.sde_type = sde, sde.noise_type, sde.sde_type
        used = {_NAMES[key]: name for key, name in names.items() if key in _NAMES}
        for name in (*_NAMES.values(), "g_prod"):
            if hasattr(sde, used.get(name, name)):
                setattr(self, name, getattr(sde, used.get(name, name)))


@final
class WithLogRatio:
    """An equation with one more state, the path's part of the Kullback-Leibler divergence from the prior:

        dl = |u|² / 2 dt,    g u = f - h,    h the prior's drift

    Args:
        sde: the equation, with f, g and h.

    Raises:
        AttributeError: if one of them is missing.
    """

    def __init__(self, sde: Any) -> None:
        missing = [name for name in ("f", "g", "h") if not hasattr(sde, name)]
        if missing:
            raise AttributeError(
                f"logqp needs the drift f, the diffusion g and the prior's drift h, but the equation has no "
                f"{', '.join(missing)}. Define it, or tell its name: names={{'prior_drift': ...}}."
            )
        self.sde, self.noise_type, self.sde_type = sde, sde.noise_type, sde.sde_type
        self.diagonal = sde.noise_type == NOISE_TYPES.diagonal

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift and |u|²/2."""
        return self.f_and_g(t, y)[0]

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion, and 0."""
        return self._widened(self.sde.g(t, y[:, :-1]))

    def f_and_g(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Both."""
        y = y[:, :-1]
        f, g, h = self.sde.f(t, y), self.sde.g(t, y), self.sde.h(t, y)
        if self.diagonal:
            small = torch.where(g.detach() < 0, -_SMALL, _SMALL).to(g.dtype)
            u = (f - h) / torch.where(g.detach().abs() > _SMALL, g, small)
        else:
            u = torch.bmm(g.pinverse(), (f - h).unsqueeze(-1)).squeeze(-1)
        return torch.cat([f, 0.5 * u.square().sum(dim=1, keepdim=True)], dim=1), self._widened(g)

    def _widened(self, g: Tensor) -> Tensor:
        return torch.cat([g, g.new_zeros(len(g), 1, *g.shape[2:])], dim=1)
