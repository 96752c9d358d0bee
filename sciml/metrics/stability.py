"""When a rollout leaves the range of the truth for good: its blow-up time."""

from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_at_least
from sciml.metrics.crossing import CrossingTime, first_time
from sciml.metrics.frames import check_pair, root_mean_square, rows


def blow_up_time(
    prediction: Float[Tensor, "batch time channel *space"],
    truth: Float[Tensor, "batch time channel *space"],
    times: Float[Tensor, " time"],
    factor: float = 10.0,
) -> CrossingTime:
    """First lead time at which a frame is not finite or its RMS exceeds `factor` times the truth's largest.

    The largest RMS of the truth is taken over the lead times of the same trajectory. The default of 10 is a
    hundred times its energy: a wrong but bounded rollout on the attractor never gets there, and one that has
    does not return.

    Args:
        prediction: predicted frames.
        truth: true frames.
        times: lead times, above 0 and increasing, [time].
        factor: at least 1, [1].

    Returns:
        One time per trajectory, not interpolated. A rollout that never blows up is reported as beyond the
        horizon.

    Raises:
        ValueError: if shapes or times do not fit, the truth is not finite, or the factor is below 1.
    """
    check_at_least("factor", factor, 1)
    check_pair(prediction, truth)
    limit = factor * root_mean_square(rows(truth)).amax(1, keepdim=True)
    return first_time(~(root_mean_square(rows(prediction)) <= limit), times)  # NaN and inf fail the comparison
