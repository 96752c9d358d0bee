"""Every equation: precisions, a value of each parameter per sample, gradients, what it conserves, a demonstration."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sciml.core import Key
from sciml.grids import Grid, Padding
from sciml.pde import (
    AbstractEquation,
    Advection,
    AdvectionDiffusion,
    AllenCahn,
    Burgers,
    CahnHilliard,
    Channels,
    Combined,
    Diffusion,
    Dispersion,
    FisherKPP,
    GinzburgLandau,
    GrayScott,
    HyperDiffusion,
    KolmogorovForcing,
    KortewegDeVries,
    KuramotoSivashinsky,
    KuramotoSivashinskyCombustion,
    NavierStokes2D,
    NavierStokes3D,
    PassiveScalar,
    RandomSines,
    Schroedinger,
    ShallowWater,
    SwiftHohenberg,
    TravellingSines,
    TruncatedFourier,
    VectorBurgers,
    Wave,
    evolve,
)
from sciml.pde.conditions import ZeroMean
from sciml.pde.showcase import showcases
from tests.helpers import final_subclasses


@dataclass(frozen=True, eq=False)
class Case:
    """An equation with what a test needs to know of it."""

    make: Callable[..., AbstractEquation]
    """Builds it from its parameters."""
    parameters: dict[str, tuple[float, float]]
    """Two values of each parameter that may differ between samples."""
    conserved: tuple[int, ...] = (0,)
    """Channels whose mean is conserved."""


def _sines(key: Key) -> TravellingSines:
    return RandomSines(3, 0.5, 0.4, 2).sample(key)


CASES = {
    "advection": Case(lambda **p: Advection(**p, ndim=2), {"velocity": (1.0, -0.7)}),
    "advection along axes": Case(lambda velocity: Advection((velocity, 0.5), 2), {"velocity": (1.0, -0.7)}),
    "advection_diffusion": Case(AdvectionDiffusion, {"velocity": (1.0, 0.3), "diffusivity": (0.1, 0.2)}),
    "diffusion": Case(
        lambda xx, yy, xy: Diffusion((xx, yy), (xy,), 2), {"xx": (0.2, 0.3), "yy": (0.1, 0.3), "xy": (0.05, -0.1)}
    ),
    "hyper_diffusion": Case(lambda **p: HyperDiffusion(**p, ndim=3), {"hyperdiffusivity": (0.01, 0.02)}),
    "dispersion": Case(Dispersion, {"dispersion": (0.1, -0.2)}),
    "wave": Case(lambda **p: Wave(**p, ndim=2), {"speed": (1.0, 0.6)}, conserved=(1,)),
    "burgers": Case(Burgers, {"viscosity": (0.1, 0.2)}),
    "burgers in space": Case(lambda **p: Burgers(**p, ndim=3), {"viscosity": (0.1, 0.2)}),
    "vector_burgers": Case(VectorBurgers, {"viscosity": (0.1, 0.2)}, conserved=()),
    "korteweg_de_vries": Case(KortewegDeVries, {"steepening": (6.0, -1.0), "dispersion": (1.0, 0.3)}),
    "kuramoto_sivashinsky": Case(KuramotoSivashinsky, {"viscosity": (1.0, 0.5)}),
    "kuramoto_sivashinsky_combustion": Case(
        lambda **p: KuramotoSivashinskyCombustion(**p, ndim=2), {"viscosity": (1.0, 0.5)}, conserved=()
    ),
    "kuramoto_sivashinsky held": Case(
        lambda **p: KuramotoSivashinskyCombustion(**p, hold_mean=True), {"viscosity": (1.0, 0.5)}
    ),
    "fisher_kpp": Case(FisherKPP, {"diffusivity": (0.1, 0.05), "rate": (1.0, 2.0)}, conserved=()),
    "allen_cahn": Case(
        lambda **p: AllenCahn(**p, ndim=2), {"diffusivity": (0.1, 0.05), "rate": (1.0, 2.0)}, conserved=()
    ),
    "cahn_hilliard": Case(lambda **p: CahnHilliard(**p, ndim=2), {"mobility": (1.0, 0.5), "interface": (0.1, 0.2)}),
    "swift_hohenberg": Case(
        SwiftHohenberg, {"growth": (0.1, 0.3), "quadratic": (0.5, 1.0), "wavenumber": (1.0, 0.7)}, conserved=()
    ),
    "gray_scott": Case(
        GrayScott,
        {
            "feed": (0.3, 0.2),
            "kill": (0.1, 0.2),
            "diffusivity_u": (0.1, 0.2),
            "diffusivity_v": (0.05, 0.03),
        },
        conserved=(),
    ),
    "ginzburg_landau": Case(
        GinzburgLandau, {"growth": (1.0, 0.5), "dispersion": (1.0, 2.0), "twist": (-1.0, 0.5)}, conserved=()
    ),
    "schroedinger": Case(Schroedinger, {"nonlinearity": (1.0, -1.0), "dispersion": (0.5, 0.3)}, conserved=()),
    "combined": Case(Combined, {"steepening": (1.0, 0.5), "diffusion": (0.1, 0.2), "dispersion": (0.5, 0.2)}),
    "combined forced": Case(
        lambda **p: Combined(**p, forcing=_sines(Key(0, torch.tensor([3])))), {"steepening": (1.0, 0.5)}
    ),
    "shallow_water": Case(
        ShallowWater,
        {
            "gravity": (1.0, 2.0),
            "depth": (1.0, 1.5),
            "rotation": (0.0, 0.7),
            "viscosity": (0.1, 0.02),
            "drag": (0.1, 0.3),
        },
    ),
    "navier_stokes_2d": Case(
        lambda **p: NavierStokes2D(**p, forcing=KolmogorovForcing(2)),
        {"viscosity": (0.1, 0.2), "drag": (0.1, 0.3)},
    ),
    "passive scalar": Case(
        lambda viscosity, kappa: NavierStokes2D(viscosity, scalar=PassiveScalar(kappa)),
        {"viscosity": (0.1, 0.2), "kappa": (0.1, 0.3)},
        conserved=(0, 1),
    ),
    "navier_stokes_3d": Case(NavierStokes3D, {"viscosity": (0.1, 0.2)}, conserved=(0, 1, 2)),
}
ALL = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
DT, STEPS = 0.02, 2


def the_grid(equation: AbstractEquation) -> Grid:
    return Grid((12,) * equation.ndim, (6.0, 5.0, 4.0)[: equation.ndim])


def start(equation: AbstractEquation, batch: int = 2) -> Tensor:
    noise = Channels((TruncatedFourier(2, 0.2),) * len(equation.fields.names))
    return mean(equation, 0.3) + noise.sample(Key.rows(0, batch), the_grid(equation))


def mean(equation: AbstractEquation, value: float) -> Tensor:
    """The same value for every channel that may have a mean, (channel, *1)."""
    values = torch.full((len(equation.fields.names), *[1] * equation.ndim), value, dtype=torch.float64)
    for condition in equation.conditions:
        if isinstance(condition, ZeroMean):
            values[condition.channel] = 0.0
    return values


def end(equation: AbstractEquation, u0: Tensor) -> Tensor:
    return evolve(equation, the_grid(equation), u0, torch.tensor([STEPS * DT]).double(), dt=DT)[:, 0]


def first(case: Case) -> AbstractEquation:
    return case.make(**{name: values[0] for name, values in case.parameters.items()})


def test_every_equation_has_a_case_and_a_demonstration():
    every = final_subclasses(AbstractEquation)
    assert {type(first(case)) for case in CASES.values()} == every
    assert {type(show.equation) for show in showcases().values()} == every


@ALL
def test_precision_follows_the_fields(case):
    equation = first(case)
    u0 = start(equation)
    wide, narrow = end(equation, u0), end(equation, u0.float())
    assert wide.shape == u0.shape and wide.dtype == torch.float64 and narrow.dtype == torch.float32
    assert float((wide - u0).abs().max()) > 1e-4
    assert torch.allclose(narrow.double(), wide, rtol=0, atol=2e-5)


@ALL
def test_a_batch_of_parameters_equals_one_by_one(case):
    together = case.make(**{name: torch.tensor(values) for name, values in case.parameters.items()})
    u0 = start(together)
    u = end(together, u0)
    for row in range(2):
        alone = case.make(**{name: values[row] for name, values in case.parameters.items()})
        assert torch.allclose(end(alone, u0[row : row + 1]), u[row : row + 1], rtol=0, atol=1e-13)


@ALL
def test_gradients_of_parameters_and_fields_equal_finite_differences(case):
    names = list(case.parameters)
    values = [torch.tensor(case.parameters[name], requires_grad=True) for name in names]
    shift = torch.tensor(0.0, requires_grad=True)
    u0 = start(first(case))
    weight, direction = (torch.sin(k * torch.arange(u0.numel()).double()).reshape(u0.shape) for k in (1.0, 2.3))

    def total(shift, *values):
        equation = case.make(**dict(zip(names, values, strict=True)))
        return (weight * end(equation, u0 + shift * direction)).sum()

    assert torch.autograd.gradcheck(total, (shift, *values), eps=1e-6, atol=1e-7, rtol=1e-5)


@ALL
def test_means_are_conserved_where_declared(case):
    equation = first(case)
    u0 = start(equation)
    change = (end(equation, u0) - u0).mean(tuple(range(2, u0.ndim))).abs().amax(0)
    for channel in range(u0.shape[1]):
        assert (float(change[channel]) < 1e-15) == (channel in case.conserved), change


@ALL
def test_a_grid_of_other_dimension_is_refused(case):
    equation = first(case)
    ndim = equation.ndim % 3 + 1
    with pytest.raises(ValueError, match=f"{type(equation).__name__} is posed on"):
        equation.modes(Grid((12,) * ndim, (1.0,) * ndim))


@ALL
def test_odd_grids_and_padding_give_what_truncation_gives(case):
    """Products are right by either rule: fields of few modes move alike where both hold all that arises."""
    equation = first(case)
    if not any(field.name == "dealiasing" for field in dataclasses.fields(equation)):  # type: ignore[arg-type]
        assert equation.degree == 1
        return
    padded = dataclasses.replace(equation, dealiasing=Padding())  # type: ignore[type-var, call-arg]
    u0 = 0.01 * start(equation, 1)
    coarse, fine = the_grid(equation), the_grid(equation).with_points(24)
    fields = Channels((TruncatedFourier(2, 1e-3),) * len(equation.fields.names))
    u0, u0_fine = (mean(equation, 1e-2) + fields.sample(Key.rows(0, 1), grid) for grid in (coarse, fine))
    ts = torch.tensor([DT])
    exact = evolve(equation, fine, u0_fine, ts, dt=DT)[..., *[slice(None, None, 2)] * equation.ndim]
    odd = the_grid(equation).with_points(15)
    u0_odd = mean(equation, 1e-2) + fields.sample(Key.rows(0, 1), odd)
    assert evolve(equation, odd, u0_odd, ts, dt=DT).isfinite().all()
    assert torch.allclose(evolve(padded, coarse, u0, ts, dt=DT), exact, rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match="even number of points"):
        padded.modes(odd)


@pytest.mark.parametrize("name", showcases())
def test_demonstrations_start(name):
    show = showcases()[name]
    u0 = show.initial.sample(Key.rows(0, 1), show.grid)
    frames = evolve(show.equation, show.grid, u0, torch.tensor([0.0, show.dt]), dt=show.dt)
    assert frames.isfinite().all()
    assert show.quantity(frames).shape == (1, 2, *show.grid.points)
    steps = show.dt_frame / show.dt
    assert steps == pytest.approx(round(steps), abs=1e-9)
