"""The state-space models that take part, built of `sciml.ssm`."""

from typing import Any

from torch import nn

from sciml.ssm import Bidirectional, DeepSSM, Gated, Residual, Selective, parameter_groups, s4d


def s4d_model(
    inputs: int,
    answers: int,
    width: int,
    blocks: int,
    *,
    state: int = 32,
    both_ways: bool = False,
    dropout: float = 0.0,
    **options: Any,
) -> DeepSSM:
    """S4D layers with GELU, gated mixing and residual connections, norms in front.

    Args:
        options: of `s4d`.
    """

    def block() -> Residual:
        if not both_ways:
            return Residual(s4d(width, state, **options), Gated(width, width), dropout=dropout)
        layer = Bidirectional(s4d(width, state, **options), s4d(width, state, **options))
        return Residual(layer, Gated(2 * width, width), dropout=dropout)

    return DeepSSM(inputs, answers, [block() for _ in range(blocks)])


def selective_model(inputs: int, answers: int, width: int, blocks: int, *, state: int = 16, **options: Any) -> DeepSSM:
    """Selective layers with residual connections, norms in front.

    Args:
        options: of `Selective`.
    """
    made = [Residual(Selective(width, state, **options), nn.Identity()) for _ in range(blocks)]
    return DeepSSM(inputs, answers, made)


def slow_systems(model: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Parameter groups in which the systems learn at a thousandth at most, without decay."""
    return parameter_groups(model, rate)
