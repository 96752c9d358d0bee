"""The one place where names become objects. Everything below it takes the objects themselves."""

import abc
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from sciml.core import from_mapping
from sciml.data import AbstractFormat, NetCDF4, Zarr
from sciml.integrate import ETD1, ETD2RK, ETD3RK, ETDRK4, AbstractMethod
from sciml.pde import (
    AbstractEquation,
    AbstractInitial,
    AbstractVorticityForcing,
    Advection,
    AdvectionDiffusion,
    AllenCahn,
    BrightSolitons,
    Bumps,
    Burgers,
    CahnHilliard,
    Combined,
    Constant,
    DiagonalForcing,
    Diffusion,
    Dispersion,
    FisherKPP,
    ForcingAtStart,
    GaussianRandomField,
    GinzburgLandau,
    GrayScott,
    HyperDiffusion,
    KolmogorovForcing,
    KortewegDeVries,
    KuramotoSivashinsky,
    KuramotoSivashinskyCombustion,
    Matern,
    McWilliams,
    NavierStokes2D,
    NavierStokes3D,
    PowerLaw,
    Schroedinger,
    ShallowWater,
    ShearLayers,
    Solitons,
    Spots,
    SwiftHohenberg,
    TaylorGreen3D,
    TruncatedFourier,
    VectorBurgers,
    Vortices,
    Wave,
)
from sciml.pde.showcase import Showcase, showcases
from sciml.surrogates.networks import FNO, DilatedResNet

EQUATIONS: Mapping[str, type[AbstractEquation]] = {
    "advection": Advection,
    "advection_diffusion": AdvectionDiffusion,
    "allen_cahn": AllenCahn,
    "burgers": Burgers,
    "cahn_hilliard": CahnHilliard,
    "combined": Combined,
    "diffusion": Diffusion,
    "dispersion": Dispersion,
    "fisher_kpp": FisherKPP,
    "ginzburg_landau": GinzburgLandau,
    "gray_scott": GrayScott,
    "hyper_diffusion": HyperDiffusion,
    "korteweg_de_vries": KortewegDeVries,
    "kuramoto_sivashinsky": KuramotoSivashinsky,
    "kuramoto_sivashinsky_combustion": KuramotoSivashinskyCombustion,
    "navier_stokes_2d": NavierStokes2D,
    "navier_stokes_3d": NavierStokes3D,
    "schroedinger": Schroedinger,
    "shallow_water": ShallowWater,
    "swift_hohenberg": SwiftHohenberg,
    "vector_burgers": VectorBurgers,
    "wave": Wave,
}
INITIAL: Mapping[str, type[AbstractInitial]] = {
    "bright_solitons": BrightSolitons,
    "bumps": Bumps,
    "constant": Constant,
    "forcing_at_start": ForcingAtStart,
    "gaussian_random_field": GaussianRandomField,
    "matern": Matern,
    "mcwilliams": McWilliams,
    "power_law": PowerLaw,
    "shear_layers": ShearLayers,
    "solitons": Solitons,
    "spots": Spots,
    "taylor_green_3d": TaylorGreen3D,
    "truncated_fourier": TruncatedFourier,
    "vortices": Vortices,
}
FORCINGS: Mapping[str, type[AbstractVorticityForcing]] = {"diagonal": DiagonalForcing, "kolmogorov": KolmogorovForcing}
METHODS: Mapping[str, type[AbstractMethod]] = {"etd1": ETD1, "etd2rk": ETD2RK, "etd3rk": ETD3RK, "etdrk4": ETDRK4}
FORMATS: Mapping[str, type[AbstractFormat]] = {"netcdf": NetCDF4, "zarr": Zarr}


class AbstractNetworkConfig(abc.ABC):
    """Options of a network; `build` makes it for given channels and axes. Subclasses are frozen, and final."""

    @abc.abstractmethod
    def build(self, in_channels: int, out_channels: int, ndim: int) -> nn.Module:
        """A freshly initialised network."""


@final
@dataclass(frozen=True, kw_only=True)
class FNOConfig(AbstractNetworkConfig):
    """Options of `FNO`.

    Args:
        modes: Fourier modes kept per axis.
        hidden_channels: width.
        layers: Fourier layers.
    """

    modes: int = 16
    hidden_channels: int = 32
    layers: int = 4

    def build(self, in_channels: int, out_channels: int, ndim: int) -> nn.Module:
        """See `AbstractNetworkConfig.build`."""
        return FNO(
            in_channels,
            out_channels,
            modes=(self.modes,) * ndim,
            hidden_channels=self.hidden_channels,
            layers=self.layers,
        )


@final
@dataclass(frozen=True, kw_only=True)
class DilatedResNetConfig(AbstractNetworkConfig):
    """Options of `DilatedResNet`.

    Args:
        hidden_channels: width.
        blocks: residual blocks.
        dilations: of the convolutions of a block.
        kernel: points of each convolution.
    """

    hidden_channels: int = 40
    blocks: int = 2
    dilations: tuple[int, ...] = (1, 4, 16, 4, 1)
    kernel: int = 5

    def build(self, in_channels: int, out_channels: int, ndim: int) -> nn.Module:
        """See `AbstractNetworkConfig.build`."""
        return DilatedResNet(
            in_channels,
            out_channels,
            ndim,
            hidden_channels=self.hidden_channels,
            blocks=self.blocks,
            dilations=self.dilations,
            kernel=self.kernel,
        )


NETWORKS: Mapping[str, type[AbstractNetworkConfig]] = {"dilated_resnet": DilatedResNetConfig, "fno": FNOConfig}
PARTS: Mapping[str, Mapping[str, type[Any]]] = {"forcing": FORCINGS}
"""Options whose values are named objects themselves."""


def demonstration(name: str) -> Showcase:
    """What shows an equation, by the name of the equation.

    Raises:
        ValueError: for an unknown name.
    """
    known = showcases()
    if name not in known:
        raise ValueError(f"`name` must be a known equation, got {name!r}. Known: {', '.join(sorted(known))}.")
    return known[name]


def named(kinds: Mapping[str, type[Any]], what: str, choice: Mapping[str, Any], place: str) -> Any:
    """The object a table such as `{name = "fno", modes = 16}` describes; so do its options named in `PARTS`.

    Raises:
        ValueError: for a missing or unknown name, or an unknown option.
    """
    name = choice.get("name")
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"{place}: `name` must be a known {what}, got {name!r}. Known: {', '.join(sorted(kinds))}.")
    options = {
        key: named(PARTS[key], key, value, f"{place}, key `{key}`")
        if key in PARTS and isinstance(value, Mapping)
        else value
        for key, value in choice.items()
        if key != "name"
    }
    if not dataclasses.is_dataclass(kinds[name]):
        raise TypeError(f"{what} {name!r} must be configured by a dataclass.")
    return from_mapping(kinds[name], options, place)
