"""Groups for an optimiser: systems learn slower than the rest, and are not decayed."""

from typing import Any

from torch import nn

from sciml.core.checks import check_positive
from sciml.ssm.layer import AbstractLayer


def parameter_groups(
    model: nn.Module, rate: float, *, slow_rate: float = 1e-3, weight_decay: float = 0.01
) -> list[dict[str, Any]]:
    """Two groups of parameters: those of systems (A, B, steps), and the others.

        torch.optim.AdamW(parameter_groups(model, 4e-3))

    Args:
        model: with layers of `sciml.ssm` anywhere inside.
        rate: of the others.
        slow_rate: of systems; never above `rate`.
        weight_decay: of the others. Systems have none, for decay to 0 is no prior on eigenvalues or steps.

    Raises:
        ValueError: if a rate is not positive.

    Source: Gu, Goel & Re (2022), arXiv 2111.00396, appendix D.2; Gu, Gupta, Goel & Re (2022), arXiv 2206.11893,
    appendix B.
    """
    check_positive("rate", rate)
    check_positive("slow_rate", slow_rate)
    slow = {id(p) for m in model.modules() if isinstance(m, AbstractLayer) for p in m.slow_parameters()}
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if id(p) not in slow], "lr": rate, "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) in slow], "lr": min(rate, slow_rate), "weight_decay": 0.0},
    ]
