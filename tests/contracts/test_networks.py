"""Every network: alive in all its parts, translation equivariant, and honest about what it takes."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from sciml.surrogates import networks
from sciml.surrogates.networks import FNO, CircularConvolution, DilatedResNet, SpectralConvolution

POINTS = {1: (24,), 2: (16, 18)}


@dataclass(frozen=True)
class Case:
    """A network of 2 input and 3 output channels and what it says about itself."""

    cls: type[nn.Module]
    ndim: int
    build: Callable[[], nn.Module]
    same_at_other_resolutions: bool
    """The same function of space on every grid that resolves the input, beyond mere shapes."""

    def __str__(self) -> str:
        return f"{self.cls.__name__}-{self.ndim}d"


CASES = [
    case
    for ndim, modes in ((1, (7,)), (2, (7, 7)))
    for case in (
        Case(FNO, ndim, lambda modes=modes: FNO(2, 3, modes, hidden_channels=6, layers=2), False),
        Case(SpectralConvolution, ndim, lambda modes=modes: SpectralConvolution(2, 3, modes), True),
        Case(DilatedResNet, ndim, lambda n=ndim: DilatedResNet(2, 3, n, hidden_channels=5, blocks=2), False),
        Case(CircularConvolution, ndim, lambda n=ndim: CircularConvolution(2, 3, n, dilation=2), False),
    )
]


@pytest.fixture(params=CASES, ids=str)
def case(request) -> Case:
    return request.param


def field(case: Case, batch: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(batch, 2, *POINTS[case.ndim], dtype=dtype)


def test_every_network_has_a_case():
    exported = [getattr(networks, name) for name in networks.__all__]
    final = {thing for thing in exported if isinstance(thing, type) and getattr(thing, "__final__", False)}
    assert {case.cls for case in CASES} == {cls for cls in final if issubclass(cls, nn.Module)}
    assert {case.ndim for case in CASES} == {1, 2}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_follow_the_input(case, dtype):
    u = field(case, dtype=dtype)
    out = case.build().to(dtype)(u)
    assert out.shape == (2, 3, *POINTS[case.ndim])
    assert out.dtype == dtype


def test_every_parameter_gets_a_gradient(case):
    network = case.build()
    network(field(case)).square().sum().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().max() > 0)]
    assert dead == []


def test_every_part_changes_the_output(case):
    """Silence each module that owns parameters, one at a time."""
    network, u = case.build(), field(case)
    whole = network(u)
    parts = {n: m for n, m in network.named_modules() if next(m.parameters(recurse=False), None) is not None}
    assert sum(p.numel() for m in parts.values() for p in m.parameters(recurse=False)) == sum(
        p.numel() for p in network.parameters()
    )
    for name, part in parts.items():
        handle = part.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
        assert not torch.allclose(network(u), whole, rtol=1e-6, atol=1e-6), f"{name} does nothing"
        handle.remove()
    assert torch.equal(network(u), whole)


def test_commutes_with_translations(case):
    network, u = case.build(), field(case)
    axes = tuple(range(2, u.ndim))
    shift = (5, 7)[: case.ndim]
    assert torch.allclose(network(u.roll(shift, axes)), network(u).roll(shift, axes), rtol=0, atol=1e-12)


def test_rows_of_the_batch_do_not_mix(case):
    network, u = case.build(), field(case, batch=3)
    assert torch.allclose(network(u)[1:2], network(u[1:2]), rtol=0, atol=1e-12)


def test_takes_other_resolutions(case):
    network = case.build()
    finer = tuple(2 * n for n in POINTS[case.ndim])
    smooth = SpectralConvolution(1, 2, (5,) * case.ndim)(torch.randn(2, 1, *finer))
    on_finer = network(smooth)
    assert on_finer.shape == (2, 3, *finer)
    if case.same_at_other_resolutions:
        every_other = (..., *(slice(None, None, 2) for _ in finer))
        assert torch.allclose(network(smooth[every_other]), on_finer[every_other], rtol=0, atol=1e-12)


def test_state_dict_round_trip(case, tmp_path):
    network, other = case.build(), case.build()
    u = field(case)
    assert not torch.equal(network(u), other(u))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(network(u), other(u))


def test_refuses_wrong_channels_and_axes(case):
    network = case.build()
    with pytest.raises(ValueError, match=r"`u` must have shape \(batch, 2, \*space\)"):
        network(field(case)[:, :1])
    with pytest.raises(ValueError, match=r"`u` must have shape \(batch, 2, \*space\)"):
        network(field(case)[..., 0])


@pytest.mark.parametrize("case", [c for c in CASES if c.cls in (FNO, SpectralConvolution)], ids=str)
def test_refuses_fewer_points_than_modes(case):
    with pytest.raises(ValueError, match="at least as many points as kept modes"):
        case.build()(torch.zeros(1, 2, *(6,) * case.ndim))
