"""SpaceTime: forecasts by companion systems, the last of which runs on by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from sciml.ssm.discretise import AbstractDiscretisation, Discrete
from sciml.ssm.intervals import Interval, going_on
from sciml.ssm.layers.closed_loop import ClosedLoop
from sciml.ssm.layers.companion import companion
from sciml.ssm.layers.preprocess import AbstractFilter, Difference, MovingAverageResidual, Preprocess
from sciml.ssm.mixing import Gated
from sciml.ssm.residual import Residual


@final
@dataclass(frozen=True, eq=False)
class Forecast:
    """What SpaceTime says of a series.

    Args:
        values: of coming entries, (batch, entries, channels).
        one_ahead: of the entries 1, ..., time - 1 of the context, from those before each, (batch, time - 1, channels).
        latent: inputs of the last layer at those entries, (batch, time - 1, width).
        latent_ahead: what that layer predicted them to be, likewise.
    """

    values: Tensor
    one_ahead: Tensor
    latent: Tensor
    latent_ahead: Tensor


@final
class SpaceTime(nn.Module):
    """Filters, companion layers, and a closed loop whose outputs are forecasts.

    Trained on three losses: of `values`, of `one_ahead` (the last layer as an open loop), and of `latent_ahead` (its
    feedback against the inputs that came).

    Args:
        channels: of the series.
        width: of the layers.
        state: order of the systems; 32 for maps and 8 for flows by default, which take 12 at most.
        layers: in front of the closed loop.
        filters: of the series; by default differences of order 0 and 1 and the residual of a mean over 4 entries.
        discretisation: of all systems; `Discrete()` by default.
        dropout: in the layers.

    Source: Zhang et al. (2023), arXiv 2303.09489, section 4 and figure 2. Filters stand in front of the layers rather
    than in some heads of the first. Series are taken as they are: centre and scale them before.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int = 64,
        state: int | None = None,
        layers: int = 1,
        filters: Sequence[AbstractFilter] | None = None,
        discretisation: AbstractDiscretisation | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if state is None and isinstance(discretisation, Discrete | None):
            state = 32
        filters = [Difference(0), Difference(1), MovingAverageResidual(4)] if filters is None else filters
        self.preprocess = Preprocess(channels, filters)
        self.encoder = nn.Linear(self.preprocess.outputs, width)
        self.stack = nn.ModuleList(
            Residual(companion(width, state, discretisation=discretisation), Gated(width, width), dropout=dropout)
            for _ in range(layers)
        )
        self.loop = ClosedLoop(width, state, discretisation=discretisation)
        self.decoder = nn.Linear(width, channels)

    def forward(
        self,
        context: Float[Tensor, "batch time channel"],
        entries: int,
        dt: Interval = None,
        dt_ahead: Interval = None,
    ) -> Forecast:
        """Forecasts of the coming entries, and what the losses of the context need.

        Args:
            context: the series so far, of at least two entries.
            entries: how many to forecast.
            dt: time since the entry before, (batch, time) or one number for all; 1 by default, [time].
            dt_ahead: the same of coming entries, (batch, entries) or one number for all; where dt is one number, that
                one by default.

        Raises:
            ValueError: if the context has one entry, `entries` is not a whole number of at least 1, or `dt_ahead` is
                left out where `dt` has an interval for each sample and time.
        """
        if context.ndim == 3 and context.shape[1] < 2:
            raise ValueError(
                f"`context` must have at least two entries, got shape {tuple(context.shape)}: the losses compare each "
                "with what was said from those before it. Give a longer one."
            )
        dt_ahead = going_on(dt, dt_ahead)
        latent = self.encoder(self.preprocess(context, dt))
        for block in self.stack:
            latent = block(latent, dt)
        ahead, state = self.loop.prefill(latent, dt)
        coming = self.loop.forecast(state, entries, dt_ahead)
        return Forecast(self.decoder(coming.y), self.decoder(ahead.y), latent[:, 1:], ahead.u)
