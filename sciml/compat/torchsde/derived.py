"""Brownian motions that are made of others."""

from typing import Any, final

import torch
from torch import Tensor

from sciml.compat.torchsde.interval import BaseBrownian, BrownianInterval


class _Wrapped(BaseBrownian):
    """What a Brownian motion takes from another one."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def dtype(self) -> Any:
        """Of increments."""
        return self.inner.dtype

    @property
    def device(self) -> Any:
        """Of increments."""
        return self.inner.device

    @property
    def shape(self) -> Any:
        """Of increments."""
        return self.inner.shape

    @property
    def levy_area_approximation(self) -> Any:
        """A word of `LEVY_AREA_APPROXIMATIONS`."""
        return self.inner.levy_area_approximation


@final
class ReverseBrownian(_Wrapped):
    """Another Brownian motion with time turned round: from ta to tb it does what that does from -tb to -ta."""

    def __init__(self, base_brownian: Any) -> None:
        super().__init__(base_brownian)
        self.base_brownian = base_brownian

    def __call__(self, ta: Any, tb: Any = None, return_U: bool = False, return_A: bool = False) -> Any:
        """See `BaseBrownian.__call__`; both times are needed."""
        return self.base_brownian(-tb, -ta, return_U=return_U, return_A=return_A)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_brownian={self.base_brownian})"


class _FromPoint(_Wrapped):
    """A Brownian motion that starts from a point: at a single time it tells where it is."""

    def __init__(self, w0: Tensor, inner: BrownianInterval) -> None:
        super().__init__(inner)
        self._w0 = w0

    def __call__(self, t: Any, tb: Any = None, return_U: bool = False, return_A: bool = False) -> Any:
        """See `BaseBrownian.__call__`."""
        answer = self.inner(t, tb, return_U=return_U, return_A=return_A)
        return answer + self._w0 if tb is None and not return_U and not return_A else answer

    def __repr__(self) -> str:
        return f"{type(self).__name__}(interval={self.inner})"


@final
class BrownianPath(_FromPoint):
    """Brownian motion from `t0` to t0 + 1 that starts at `w0`.

    Args:
        t0: [time].
        w0: where it starts; increments are like it.
        window_size: it changes nothing.
    """

    def __init__(self, t0: Any, w0: Tensor, window_size: int = 8) -> None:
        size = {"size": w0.shape, "dtype": w0.dtype, "device": w0.device}
        super().__init__(w0, BrownianInterval(t0=t0, t1=t0 + 1, cache_size=None, **size))


@final
class BrownianTree(_FromPoint):
    """Brownian motion that starts at `w0` and is determined by its entropy alone.

    Args:
        t0, w0: where it starts.
        t1, w1: where it ends; t0 + 1, and drawn, if not given.
        entropy, tol, pool_size: see `BrownianInterval`.
        cache_depth, safety: they change nothing.
    """

    def __init__(
        self,
        t0: Any,
        w0: Tensor,
        t1: Any = None,
        w1: Tensor | None = None,
        entropy: int | None = None,
        tol: float = 1e-6,
        pool_size: int = 24,
        cache_depth: int = 9,
        safety: float | None = None,
    ) -> None:
        options = {"size": w0.shape, "dtype": w0.dtype, "device": w0.device, "entropy": entropy, "tol": tol}
        options |= {"pool_size": pool_size, "halfway_tree": True, "W": None if w1 is None else w1 - w0}
        super().__init__(w0, BrownianInterval(t0=t0, t1=t0 + 1 if t1 is None else t1, **options))


def brownian_interval_like(
    y: Tensor,
    t0: Any = 0.0,
    t1: Any = 1.0,
    size: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **kwargs: Any,
) -> BrownianInterval:
    """A `BrownianInterval` of the size, dtype and device of a tensor."""
    size = tuple(y.shape) if size is None else size
    dtype, device = dtype or y.dtype, y.device if device is None else device
    return BrownianInterval(t0=t0, t1=t1, size=size, dtype=dtype, device=device, **kwargs)
