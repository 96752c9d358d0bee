"""Where a scan need not form its states."""

from torch import Tensor

from sciml.ssm.discretise import SimplifiedZOH
from sciml.ssm.kernels.selective import selective_scan
from sciml.ssm.matrices import Diagonal
from sciml.ssm.running import Outcome, Running
from sciml.ssm.transforms import within_transform


def fused_scan(system: Running, u: Tensor, x0: Tensor) -> Outcome | None:
    """Outputs and last state of what Mamba is: a real diagonal, the simplified rule, and steps, B and C of each entry
    with B and C shared by all systems. None for anything else, and within transforms of `torch.func`.

    Args:
        system: what runs.
        u: (batch, time, systems, in).
        x0: the state before, (batch, systems, state).
    """
    if within_transform():
        return None
    matrix, b, c, scale = system.matrix, system.ports.b, system.ports.c, system.steps.scale
    if not (isinstance(matrix, Diagonal) and not matrix.is_complex and isinstance(system.rule, SimplifiedZOH)):
        return None
    batch, time, systems, inputs = u.shape
    shared = b.shape == (batch, time, 1, matrix.state, 1) and c.shape == (batch, time, 1, 1, matrix.state)
    if not (shared and inputs == 1 and scale.shape == (batch, time, systems, 1)):
        return None
    step = (scale * system.steps.interval[..., None, None]).squeeze(-1)
    a = matrix.values().expand(systems, -1)
    y, last = selective_scan(u.squeeze(-1), step, a, b[:, :, 0, :, 0], c[:, :, 0, 0], x0)
    return Outcome(y.unsqueeze(-1), last)
