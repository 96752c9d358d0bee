"""Deep models: layers with norms, mixing and residual connections."""

from collections.abc import Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from sciml.core.checks import check_shape, check_whole
from sciml.ssm.executions import AbstractExecution
from sciml.ssm.intervals import Interval
from sciml.ssm.layer import AbstractLayer, State
from sciml.ssm.mixing import Gated, Plain, SelfGated


@final
class Residual(nn.Module):
    """u + mix(layer(norm(u))) or norm(u + mix(layer(u))).

    Args:
        layer: of `channels` inputs.
        mixing: entry by entry, from the layer's outputs to its channels: `Gated`, `SelfGated`, `Plain`, or
            `nn.Identity()` behind a `Selective`, which mixes by itself.
        dropout: of whole numbers behind the mixing, a probability.
        norm_first: whether the norm stands in front of the layer or behind the sum.

    Raises:
        ValueError: if the mixing takes another number of channels than the layer gives, or gives another than it takes.
            A `Bidirectional` layer gives those of both directions.
    """

    def __init__(
        self, layer: AbstractLayer, mixing: nn.Module, *, dropout: float = 0.0, norm_first: bool = True
    ) -> None:
        super().__init__()
        _check_mixing(layer, mixing)
        self.layer, self.mixing, self.norm_first = layer, mixing, norm_first
        self.norm, self.dropout = nn.LayerNorm(layer.channels), nn.Dropout(dropout)

    def forward(
        self, u: Tensor, dt: Interval = None, state: State = None, execution: AbstractExecution | None = None
    ) -> Tensor:
        """Outputs of a series, as `AbstractLayer.forward`."""
        return self._behind(u, self.layer(self._before(u), dt, state, execution))

    def prefill(
        self, u: Tensor, dt: Interval = None, state: State = None, execution: AbstractExecution | None = None
    ) -> tuple[Tensor, State]:
        """Outputs and state, as `AbstractLayer.prefill`."""
        y, state = self.layer.prefill(self._before(u), dt, state, execution)
        return self._behind(u, y), state

    def step(self, u: Tensor, state: State, dt: Interval = None) -> tuple[Tensor, State]:
        """One more entry, as `AbstractLayer.step`."""
        y, state = self.layer.step(self._before(u), state, dt)
        return self._behind(u, y), state

    def _before(self, u: Tensor) -> Tensor:
        return self.norm(u) if self.norm_first else u

    def _behind(self, u: Tensor, y: Tensor) -> Tensor:
        mixed = self.mixing(y)
        check_shape("the output of mixing", mixed, tuple(u.shape), "that of the input, to which it is added")
        u = u + self.dropout(mixed)
        return u if self.norm_first else self.norm(u)


def _check_mixing(layer: AbstractLayer, mixing: nn.Module) -> None:
    """Raise where widths are known and do not fit; modules of others are seen when they run."""
    if not isinstance(mixing, Gated | Plain | SelfGated | nn.Identity):
        return
    known = (layer.outgoing, layer.channels)
    given = known[:1] * 2 if isinstance(mixing, nn.Identity) else (mixing.inputs, mixing.outputs)
    if given != known:
        raise ValueError(
            f"`mixing` must take the {known[0]} outputs of the layer and give its {known[1]} channels, got one of "
            f"{given[0]} and {given[1]}. Take Gated({known[0]}, {known[1]}); a bidirectional layer gives outputs of "
            "both directions."
        )


@final
class DeepSSM(nn.Module):
    """A linear encoder, residual blocks, and a linear decoder, entry by entry in time.

    Args:
        inputs: channels of the series.
        outputs: channels of the result.
        blocks: `Residual` layers of one width.

    Raises:
        ValueError: if there is no block, or their widths differ.
        TypeError: if a block is no `Residual`.

    Source: Gu, Goel & Re (2022), arXiv 2111.00396, appendix D.2; layer norms throughout.
    """

    def __init__(self, inputs: int, outputs: int, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        check_whole("inputs", inputs, 1)
        check_whole("outputs", outputs, 1)
        for block in blocks:
            if not isinstance(block, Residual):
                raise TypeError(
                    f"`blocks` must be Residual, got {type(block).__name__}. Write Residual(layer, mixing)."
                )
        stack = [block for block in blocks if isinstance(block, Residual)]
        widths = {block.layer.channels for block in stack}
        if len(widths) != 1:
            raise ValueError(
                f"`blocks` must be one or more of one width, got widths {sorted(widths)}. Give equal channels."
            )
        (width,) = widths
        self.inputs, self.outputs = inputs, outputs
        self.encoder, self.decoder = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.stack = nn.ModuleList(stack)
        self.norm = nn.LayerNorm(width) if stack[0].norm_first else nn.Identity()

    def forward(
        self,
        u: Float[Tensor, "batch time channel"],
        dt: Interval = None,
        state: State = None,
        execution: AbstractExecution | None = None,
    ) -> Float[Tensor, "batch time output"]:
        """Outputs of a series.

        Args:
            u: inputs.
            dt: time since the entry before, (batch, time) or one number for all; 1 by default, [time].
            state: a tuple of the blocks' states; zero by default.
            execution: of every layer; each layer's default otherwise.
        """
        check_shape("u", u, (None, None, self.inputs), "batch, time and inputs of the model")
        h = self.encoder(u)
        for block, before in zip(self.blocks, self._states(state), strict=True):
            h = block(h, dt, before, execution)
        return self.decoder(self.norm(h))

    def prefill(
        self,
        u: Float[Tensor, "batch time channel"],
        dt: Interval = None,
        state: State = None,
        execution: AbstractExecution | None = None,
    ) -> tuple[Float[Tensor, "batch time output"], State]:
        """Outputs of a series and the states behind it. Arguments as in `forward`."""
        check_shape("u", u, (None, None, self.inputs), "batch, time and inputs of the model")
        h, states = self.encoder(u), []
        for block, before in zip(self.blocks, self._states(state), strict=True):
            h, after = block.prefill(h, dt, before, execution)
            states.append(after)
        return self.decoder(self.norm(h)), tuple(states)

    def step(
        self, u: Float[Tensor, "batch channel"], state: State, dt: Interval = None
    ) -> tuple[Float[Tensor, "batch output"], State]:
        """Outputs and states of one more entry; dt (batch,) or one number."""
        check_shape("u", u, (None, self.inputs), "batch and inputs of the model")
        h, states = self.encoder(u), []
        for block, before in zip(self.blocks, self._states(state), strict=True):
            h, after = block.step(h, before, dt)
            states.append(after)
        return self.decoder(self.norm(h)), tuple(states)

    def initial_state(self, batch: int) -> State:
        """The states before anything was seen."""
        return tuple(block.layer.initial_state(batch) for block in self.blocks)

    @property
    def blocks(self) -> list[Residual]:
        """The blocks, first one first."""
        return [block for block in self.stack if isinstance(block, Residual)]

    def _states(self, state: State) -> Sequence[State]:
        if state is None:
            return [None] * len(self.blocks)
        if len(state) != len(self.blocks):
            raise ValueError(
                f"`state` must hold one state for each of {len(self.blocks)} blocks, got {len(state)}. Take the one "
                "that prefill, step or initial_state of the same model returned."
            )
        return state
