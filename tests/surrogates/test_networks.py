"""What the networks are: neuraloperator's FNO with our convolution; the dilated ResNet with its reach."""

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from sciml.core import MissingExtraError
from sciml.surrogates.networks import FNO, CircularConvolution, DilatedResNet


@pytest.mark.parametrize("grid_embedding", [False, True])
@pytest.mark.parametrize(("points", "modes"), [((32,), (8,)), ((16, 12), (8, 5))])
def test_fno_equals_neuraloperators_with_equal_weights(points, modes, grid_embedding):
    from neuralop.models import FNO as TheirFNO

    torch.set_default_dtype(torch.float32)
    theirs = TheirFNO(
        n_modes=modes,
        in_channels=2,
        out_channels=1,
        hidden_channels=8,
        n_layers=3,
        positional_embedding="grid" if grid_embedding else None,  # type: ignore[arg-type]
    )
    ours = FNO(2, 1, modes, hidden_channels=8, layers=3, grid_embedding=grid_embedding)
    ours.load_neuraloperator(theirs.state_dict())
    u = torch.randn(2, 2, *points)
    assert torch.allclose(ours(u), theirs(u), rtol=1e-5, atol=1e-6)


def test_fno_state_dict_holds_tensors_only_also_when_nested():
    """neuraloperator#700: its `_metadata` entry is no tensor and breaks nesting."""
    pair = nn.ModuleList(FNO(1, 1, (4,), hidden_channels=4, layers=1) for _ in range(2))
    state = pair.state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    pair.load_state_dict(state)


def test_fno_with_coordinates_depends_on_the_place():
    u = torch.randn(1, 1, 16)
    for embedded in (False, True):
        network = FNO(1, 1, (8,), hidden_channels=8, layers=2, grid_embedding=embedded)
        moved = network(u.roll(5, -1)).roll(-5, -1)
        assert torch.allclose(moved, network(u), rtol=0, atol=1e-12) is not embedded


def test_fno_names_the_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "neuralop.models", None)
    with pytest.raises(MissingExtraError, match="comes with the extra `operators`"):
        FNO(1, 1, (4,))


@pytest.mark.parametrize("option", ["hidden_channels", "layers"])
def test_fno_refuses_sizes(option):
    with pytest.raises(ValueError, match=f"`{option}` must be at least"):
        FNO(1, 1, (4,), **{option: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2), (5, 2), (3, 8)])
def test_circular_convolution_is_torchs(ndim, kernel, dilation):
    layer = CircularConvolution(2, 3, ndim, kernel=kernel, dilation=dilation)
    u = torch.randn(2, 2, *(8, 9, 10)[:ndim])
    reach = dilation * (kernel // 2)
    padded = functional.pad(u, (reach,) * (2 * ndim), mode="circular")
    convolution = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[ndim]
    expected = convolution(padded, layer.stencil.weight, layer.stencil.bias, dilation=dilation)
    assert torch.allclose(layer(u), expected, rtol=0, atol=1e-13)


def test_resnet_block_sees_45_points():
    network = DilatedResNet(1, 1, 1, hidden_channels=4, blocks=1)
    v = torch.randn(1, 4, 128, requires_grad=True)
    gradient = torch.autograd.grad(network.blocks[0](v)[0, :, 64].sum(), v)[0]
    seen = gradient.abs().sum((0, 1)).nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (64 - 22, 64 + 22)


def test_resnet_takes_activation_and_normalisation_as_things():
    network = DilatedResNet(
        1, 1, 2, hidden_channels=4, blocks=1, dilations=(1, 2), activation=nn.ReLU, normalisation=nn.BatchNorm2d
    )
    kinds = [type(module) for module in network.blocks[0]]  # type: ignore[arg-type]
    assert kinds == [CircularConvolution, nn.BatchNorm2d, nn.ReLU] * 2


def test_resnet_refuses_arguments_and_small_grids():
    with pytest.raises(ValueError, match="`blocks` must be at least 1"):
        DilatedResNet(1, 1, 1, blocks=0)
    with pytest.raises(ValueError, match=r"`len\(dilations\)` must be at least 1"):
        DilatedResNet(1, 1, 1, dilations=())
    with pytest.raises(ValueError, match="`kernel` must be odd"):
        DilatedResNet(1, 1, 1, kernel=4)
    with pytest.raises(ValueError, match="`ndim` must be 1, 2 or 3, got 4"):
        DilatedResNet(1, 1, 4)
    with pytest.raises(ValueError, match="`dilation` must be at least 1"):
        CircularConvolution(1, 1, 1, dilation=0)
    with pytest.raises(ValueError, match="`out_channels` must be at least 1"):
        CircularConvolution(1, 0, 1)
    with pytest.raises(ValueError, match="at least 8 points"):
        DilatedResNet(1, 1, 1, hidden_channels=4)(torch.zeros(1, 1, 7))
