"""`BrownianInterval`: Brownian motion that is asked for its increments between any two times."""

import abc
import math
import warnings
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from sciml.compat.torchsde.halves import Halves
from sciml.compat.torchsde.pieces import Pieces
from sciml.compat.torchsde.settings import LEVY_AREA_APPROXIMATIONS
from sciml.core.random import Key
from sciml.paths import Davie, Foster, Increment, NoArea, SpaceTime

_ANSWERS = 1 << 23
"""Numbers of answers that are kept."""
_LEVY = {"none": NoArea(), "space-time": SpaceTime(), "davie": Davie(), "foster": Foster()}


class BaseBrownian(abc.ABC):
    """What is asked for the increments of a Brownian motion: torchsde's, ours, or a user's own."""

    __slots__ = ()

    @abc.abstractmethod
    def __call__(self, ta: Any, tb: Any = None, return_U: bool = False, return_A: bool = False) -> Any:
        """The increment from `ta` to `tb`; also the integral U of the path since ta, and space-space areas A."""

    @abc.abstractmethod
    def __repr__(self) -> str: ...

    @property
    @abc.abstractmethod
    def dtype(self) -> Any:
        """Of increments."""

    @property
    @abc.abstractmethod
    def device(self) -> Any:
        """Of increments."""

    @property
    @abc.abstractmethod
    def shape(self) -> Any:
        """Of increments."""

    @property
    @abc.abstractmethod
    def levy_area_approximation(self) -> Any:
        """A word of `LEVY_AREA_APPROXIMATIONS`."""

    def size(self) -> Any:
        """The shape."""
        return self.shape


@final
class BrownianInterval(BaseBrownian):
    """Brownian motion over an interval, determined by its entropy and by the questions in their order.

    With `halfway_tree` it is determined by the entropy alone, at a higher price. The newest answers are kept, some
    eight million numbers of them; one that was forgotten comes again but for rounding. The path is another than that of
    torchsde for the same entropy.

    Args:
        t0, t1: ends of the interval, [time].
        size: of increments: (), (batch,), or (*batch, channels).
        dtype, device: of increments; those of W or H, torch's default and the CPU if not given.
        entropy: a seed; drawn from NumPy's global generator if None.
        dt: the expected step size; it changes nothing here.
        tol: times are rounded to it, [time].
        pool_size, cache_size: they change nothing here.
        halfway_tree: halve the interval until `tol`.
        levy_area_approximation: "none", "space-time", "davie" or "foster".
        W, H: of the whole interval; drawn if not given.

    Raises:
        ValueError: for arguments that cannot be.
    """

    def __init__(
        self,
        t0: Any = 0.0,
        t1: Any = 1.0,
        size: Any = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
        entropy: int | None = None,
        dt: Any = None,
        tol: Any = 0.0,
        pool_size: int = 8,
        cache_size: int | None = 45,
        halfway_tree: bool = False,
        levy_area_approximation: str = LEVY_AREA_APPROXIMATIONS.none,
        W: Tensor | None = None,
        H: Tensor | None = None,
    ) -> None:
        for name, value in {"t0": t0, "t1": t1, "dt": 0.0 if dt is None else dt}.items():
            if not isinstance(value, int | float) and not (isinstance(value, Tensor) and value.numel() == 1):
                raise ValueError(f"`{name}` must be a number or a 0-D tensor, got {value!r}. Give one time.")
        if t0 > t1:
            raise ValueError(f"`t0` must not lie after `t1`, got {float(t0):g} and {float(t1):g}. Exchange them.")
        _check_tolerance(tol, dt, halfway_tree)
        self._size, self._dtype, self._device = _agreed(size, dtype, device, {"W": W, "H": H})
        if levy_area_approximation not in LEVY_AREA_APPROXIMATIONS:
            raise ValueError(
                f"`levy_area_approximation` must be one of {LEVY_AREA_APPROXIMATIONS}, got "
                f"{levy_area_approximation!r}. Give one of these."
            )
        self._t0, self._t1, self.dt = float(t0), float(t1), None if dt is None else float(dt)
        self.entropy = int(np.random.randint(0, 2**31 - 1)) if entropy is None else entropy
        self.tol, self.pool_size, self.cache_size, self.halfway_tree = tol, pool_size, cache_size, halfway_tree
        self._levy_area_approximation = levy_area_approximation
        self._answers: dict[tuple[float, float], Increment] = {}
        self.path = self._made(W, H)

    def _made(self, w: Tensor | None, h: Tensor | None) -> Pieces | Halves | None:
        """What answers questions; None where the interval is empty."""
        if self._t0 == self._t1:
            return None
        batch = math.prod(self._size[:-1]) if len(self._size) > 1 else math.prod(self._size)
        channels = self._size[-1] if len(self._size) > 1 else 1
        levy = _LEVY[self._levy_area_approximation]
        if len(self._size) < 2 and levy.areas:  # one channel has no areas
            levy = SpaceTime()
        key = Key.rows(self.entropy, batch, device=self._device)
        dtype = torch.float64 if self._dtype == torch.float64 else torch.float32
        given = None
        if w is not None or h is not None:
            drawn = Pieces(key, channels, self._t0, self._t1, levy, dtype).between(self._t0, self._t1)
            parts = [drawn.w if w is None else w, drawn.h if h is None else h][: levy.moments]
            given = torch.stack([part.to(dtype).reshape(batch, channels) for part in parts if part is not None])
        common = (key, channels, self._t0, self._t1, levy, dtype)
        return Halves(*common, float(self.tol), given) if self.halfway_tree else Pieces(*common, given)

    def __call__(self, ta: Any, tb: Any = None, return_U: bool = False, return_A: bool = False) -> Any:
        """What the path does from `ta` to `tb`; from the beginning to `ta` if only that is given.

        Args:
            ta, tb: times, ta <= tb, [time]; moved to the ends of the interval, with a warning, if they lie outside.
            return_U: also the integral of W - W(ta), or None without areas.
            return_A: also the space-space areas, or None without.

        Raises:
            RuntimeError: if `ta` lies after `tb`.
        """
        if tb is None:
            warnings.warn(f"{type(self).__name__} is made for intervals, not for single times.", stacklevel=2)
            ta, tb = self._t0, ta
        ta, tb = self._inside("ta", ta), self._inside("tb", tb)
        if ta > tb:
            raise RuntimeError(f"`ta` must not lie after `tb`, got {ta:g} and {tb:g}. Exchange them.")
        made = self._answer(ta, tb)
        answer: list[Tensor | None] = [self._shaped(made.w)]
        if return_U:
            answer.append(self._shaped((tb - ta) * (made.w / 2 + made.h)) if made.h is not None else None)
        if return_A:
            answer.append(self._area(made))
        return answer[0] if len(answer) == 1 else tuple(answer)

    def _inside(self, name: str, t: Any) -> float:
        value = float(t)
        if not self._t0 <= value <= self._t1:
            warnings.warn(
                f"`{name}` must lie within {self._t0:g} and {self._t1:g}, got {value:g}: moved to the nearer end.",
                stacklevel=3,
            )
            value = min(max(value, self._t0), self._t1)
        if self.tol == 0.0:
            return value
        return min(max(round(value, -int(math.log10(self.tol))), self._t0), self._t1)

    def _answer(self, ta: float, tb: float) -> Increment:
        if ta == tb or self.path is None:
            channels = self._size[-1] if len(self._size) > 1 else 1
            w = torch.zeros(self._size, dtype=self._dtype, device=self._device).reshape(-1, channels)
            levy = _LEVY[self._levy_area_approximation]
            return Increment(w, w if levy.moments > 1 else None, None, w[..., None] * w[..., None, :])
        if self.halfway_tree:
            return self.path.between(ta, tb)
        made = self._answers.pop((ta, tb), None) or self.path.between(ta, tb)
        self._answers[ta, tb] = made  # kept: later questions split it, and its sum would be rounded otherwise
        if len(self._answers) > max(_ANSWERS // (made.w.numel() * (1 if made.area is None else made.w.shape[-1])), 2):
            del self._answers[next(iter(self._answers))]
        return made

    def _shaped(self, value: Tensor) -> Tensor:
        return value.reshape(self._size).to(self._dtype)

    def _area(self, made: Increment) -> Tensor | None:
        if not _LEVY[self._levy_area_approximation].areas:
            return None
        if len(self._size) < 2:
            return torch.zeros(self._size, dtype=self._dtype, device=self._device)
        assert made.area is not None
        return made.area.reshape(*self._size, self._size[-1]).to(self._dtype)

    def __repr__(self) -> str:
        dt = None if self.dt is None else f"{self.dt:.3f}"
        return (
            f"{type(self).__name__}(t0={self._t0:.3f}, t1={self._t1:.3f}, size={self._size}, dtype={self._dtype}, "
            f"device={self._device!r}, entropy={self.entropy}, dt={dt}, tol={self.tol}, pool_size={self.pool_size}, "
            f"cache_size={self.cache_size}, levy_area_approximation={self._levy_area_approximation!r})"
        )

    def display_binary_tree(self) -> None:
        """Print the intervals between the times that are known."""
        times = self.path.times if isinstance(self.path, Pieces) and self.path.times else [self._t0, self._t1]
        print("\n".join(f"({a}, {b})" for a, b in zip(times, times[1:], strict=False)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of increments."""
        return self._size

    @property
    def dtype(self) -> torch.dtype:
        """Of increments."""
        return self._dtype

    @property
    def device(self) -> Any:
        """Of increments."""
        return self._device

    @property
    def levy_area_approximation(self) -> str:
        """A word of `LEVY_AREA_APPROXIMATIONS`."""
        return self._levy_area_approximation


def _check_tolerance(tol: Any, dt: Any, halfway_tree: bool) -> None:
    if halfway_tree:
        if not tol > 0:
            raise ValueError(f"`tol` must be positive with halfway_tree=True, got {tol}. Give e.g. tol=1e-6.")
        if dt is not None:
            raise ValueError(f"`dt` does not go with halfway_tree=True, got {dt}. Leave one of them out.")
    elif not tol >= 0:
        raise ValueError(f"`tol` must not be negative, got {tol}. Leave it at 0 for the rounding of times.")


def _agreed(
    size: Any, dtype: torch.dtype | None, device: Any, tensors: dict[str, Tensor | None]
) -> tuple[tuple[int, ...], torch.dtype, Any]:
    """The size, dtype and device that all that was given agrees on."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise ValueError(f"`{name}` must be a tensor of floating point numbers, got {tensor!r}. Convert it.")
    sizes = [tuple(x) for x in ([] if size is None else [size])] + [tuple(x.shape) for x in given.values()]
    dtypes = ([] if dtype is None else [dtype]) + [x.dtype for x in given.values()]
    devices = ([] if device is None else [torch.device(device)]) + [x.device for x in given.values()]
    if not sizes:
        raise ValueError("`size` must be given unless W or H is, got none of them. Write size=(batch, channels).")
    for name, values in (("size", sizes), ("dtype", dtypes), ("device", devices)):
        if any(value != values[0] for value in values):
            raise ValueError(f"`{name}`, W and H must agree, got {values}. Leave `{name}` out, or convert W and H.")
    return sizes[0], (dtypes or [torch.get_default_dtype()])[0], (devices or [torch.device("cpu")])[0]
