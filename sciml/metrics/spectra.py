"""Spectra of periodic fields and the errors read from them.

Shell kappa holds the modes with kappa - 1/2 <= |k| L / (2 pi) < kappa + 1/2, L the longest side of the box
(for equal sides: the integer wavenumber |m| rounded to the nearest). The energy of a shell is

    E(kappa) = 1/2 sum_(m in shell) |u_hat(m)|² / N²,    sum_kappa E(kappa) = 1/2 <u²>    (Parseval)

The sum is over the full spectrum: in the half-spectrum each mode that has a conjugate partner is counted
twice. Shells reach into the corners of the spectrum, so that nothing is lost.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciml.core.checks import check_positive
from sciml.grids import Grid, laplacian_symbol, transform
from sciml.metrics.frames import check_pair, infinite_if_undefined, relative

BANDS = (4, 12)
"""First shells of the middle and the high band: low 0-3, middle 4-11, high from 12 on.

Source: Takamoto et al. (2022), "PDEBench", NeurIPS datasets and benchmarks, appendix on metrics.
"""


def shell_wavenumbers(grid: Grid) -> Float[Tensor, " shell"]:
    """The wavenumber at the middle of each shell, 2 pi kappa / L, [1/length]."""
    count = int(_shells(grid).max()) + 1
    return torch.arange(count, dtype=torch.float64) * (2 * math.pi / max(grid.extent))


def energy_spectrum(u: Float[Tensor, "*axes"], grid: Grid) -> Float[Tensor, "*lead shell"]:
    """E(kappa) of each field: the last `grid.ndim` axes become one axis of shells, [field²].

    Channels stay apart; the sum over the components of a velocity is the spectrum of kinetic energy. Dividing
    by the width of a shell, 2 pi / L, gives a density.

    Raises:
        ValueError: if the last axes do not match the grid.
    """
    power = mode_power(transform(u.double(), grid), grid).flatten(-grid.ndim)
    shells = _shells(grid).flatten().to(u.device)
    spectrum = power.new_zeros(*power.shape[:-1], int(shells.max()) + 1)
    return spectrum.index_add_(-1, shells, power).mul_(0.5)


def spectral_error(
    prediction: Float[Tensor, "batch time channel *space"],
    truth: Float[Tensor, "batch time channel *space"],
    grid: Grid,
    bands: tuple[int, ...] = BANDS,
) -> Float[Tensor, "batch time band"]:
    """Relative error in bands of wavenumber: sqrt(energy of p - u / energy of u) within the band, [1].

    Channels are summed. Phase errors count, unlike in `log_spectral_distance`.

    Args:
        prediction: predicted frames.
        truth: true frames.
        grid: their grid.
        bands: first shells of the second and further bands; the first starts at 0 and so holds the mean.

    Raises:
        ValueError: if shapes do not fit, or a band holds no shell of this grid.
    """
    check_pair(prediction, truth)
    error = energy_spectrum(prediction.double() - truth.double(), grid).sum(2)
    scale = energy_spectrum(truth, grid).sum(2)
    edges = _edges(bands, scale.shape[-1])
    pairs = list(zip(edges[:-1], edges[1:], strict=True))
    banded = [torch.stack([e[..., a:b].sum(-1) for a, b in pairs], dim=-1) for e in (error, scale)]
    return relative(banded[0].sqrt(), banded[1].sqrt())


def log_spectral_distance(
    prediction: Float[Tensor, "batch time channel *space"],
    truth: Float[Tensor, "batch time channel *space"],
    grid: Grid,
    floor: float = 1e-10,
) -> Float[Tensor, " batch"]:
    """Distance of the time-averaged spectra, blind to phase: sqrt mean (log10 E_p / E_u)² over shells, [1].

    One decade in every shell is a distance of 1. Counted are the shells that lie wholly inside the spectrum, from the
    first on: the mean is no scale (see `drift`), and the shells cut by the edge hold its corners only. See
    `spectral_distance` for the rule for empty shells.
    Shells of all channels are averaged together. Infinite if any predicted frame is not finite.

    Args:
        prediction: predicted frames.
        truth: true frames.
        grid: their grid.
        floor: energies below this fraction of the truth's total count as empty, [1].

    Raises:
        ValueError: if shapes do not fit or the floor is not positive.
    """
    check_pair(prediction, truth)
    mean = [energy_spectrum(u, grid).mean(1)[..., 1 : _complete(grid)] for u in (prediction, truth)]
    return spectral_distance(mean[0], mean[1], floor)


def log_spectral_distance_per_frame(
    prediction: Float[Tensor, "batch time channel *space"],
    truth: Float[Tensor, "batch time channel *space"],
    grid: Grid,
    floor: float = 1e-10,
) -> Float[Tensor, "batch time"]:
    """As `log_spectral_distance`, of the spectra of single frames."""
    check_pair(prediction, truth)
    each = [energy_spectrum(u, grid)[..., 1 : _complete(grid)] for u in (prediction, truth)]
    return spectral_distance(each[0], each[1], floor)


def spectral_distance(
    prediction: Float[Tensor, "*lead channel shell"],
    truth: Float[Tensor, "*lead channel shell"],
    floor: float = 1e-10,
) -> Float[Tensor, "*lead"]:
    """Root mean square of log10(E_p / E_u) over the shells and channels that are not empty, [1].

    Empty is an energy below `floor` times the channel's total true energy: rounding of stored float32 fields
    lies there (about 1e-14), and its logarithm says nothing. A shell empty in both spectra is left out; one
    empty in one of them is compared with the floor, so that spurious and missing energy both count, but
    finitely.
    """
    check_positive("floor", floor)
    least = floor * truth.sum(-1, keepdim=True)
    counted = ~((prediction <= least) & (truth <= least))
    ratio = torch.log10(torch.maximum(prediction, least) / torch.maximum(truth, least))
    squares = torch.where(counted, ratio.square(), 0.0).sum((-2, -1))
    return infinite_if_undefined((squares / counted.sum((-2, -1)).clamp(min=1)).sqrt())


def mode_power(u_hat: Tensor, grid: Grid) -> Float[Tensor, "*lead_mode"]:
    """|u_hat|² / N² of each mode of the half-spectrum, partners counted; sums to <u²>, [field²]."""
    partners = torch.full((grid.modes[-1],), 2.0, dtype=torch.float64, device=u_hat.device)
    partners[0] = 1.0
    if grid.points[-1] % 2 == 0:
        partners[-1] = 1.0
    return (u_hat.real.square() + u_hat.imag.square()) * (partners / grid.size**2)


def _shells(grid: Grid) -> Int[Tensor, "*mode"]:
    """Shell of each mode of the half-spectrum."""
    kappa = (-laplacian_symbol(grid)).sqrt() * (max(grid.extent) / (2 * math.pi))
    return torch.floor(kappa + 0.5 + 1e-9).long()  # 1e-9: a mode on a boundary lies above it whatever its rounding


def _complete(grid: Grid) -> int:
    """How many shells, from 0 on, lie within the Nyquist wavenumber of every axis."""
    longest = max(grid.extent)
    return math.ceil(min(n / 2 * longest / length for n, length in zip(grid.points, grid.extent, strict=True)) - 1e-9)


def _edges(bands: tuple[int, ...], shells: int) -> tuple[int, ...]:
    """First shell of each band and the number of shells, strictly increasing."""
    edges = (0, *bands, shells)
    if any(b <= a for a, b in zip(edges[:-1], edges[1:], strict=True)):
        raise ValueError(
            f"`bands` must hold first shells that increase, above 0 and below {shells}, the shells of this "
            f"grid; got {bands}. Choose lower bands or a finer grid."
        )
    return edges
