"""The spectral convolution against a direct sum over modes, against neuraloperator, and in its derivatives."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from sciml.surrogates.networks import (
    SpectralConvolution,
    from_neuraloperator,
    kept_modes,
    spectral_conv_module,
    to_neuraloperator,
)

SIZES = [
    ((16,), (8,)),
    ((17,), (7,)),
    ((16,), (16,)),
    ((16, 16), (8, 8)),
    ((16, 15), (7, 9)),
    ((15, 16), (8, 5)),
    ((9, 7), (9, 7)),
    ((8, 7, 6), (3, 4, 5)),
    ((100,), (90,)),  # more modes than MATRIX_MODES: by FFT
    ((7, 100), (4, 90)),
]


def relative_error(value, expected) -> float:
    value, expected = value.detach().double(), expected.detach().double()
    return float((value - expected).abs().max() / expected.abs().max())


def direct_sum(layer: SpectralConvolution, u, points=None, shift: int = 0):
    """Re sum_k w_k exp(i k x) (sum_x u exp(-i k x) / N) W(k) + bias, summed as written, one axis after another.

    `shift` is added to the output's wavenumbers of odd axes that are not the last.
    """
    space = tuple(u.shape[2:])
    points = space if points is None else points
    ndim = len(space)
    u_hat = u.to(torch.complex128)
    numbers = [torch.tensor(list(range(-(m // 2), m - m // 2))) for m in layer.modes[:-1]]
    numbers.append(torch.arange(layer.modes[-1] // 2 + 1))
    for n, k in zip(space, numbers, strict=True):  # the contracted axis goes last
        wave = torch.exp(-2j * torch.pi * k[:, None] * torch.arange(n) / n) / n
        u_hat = torch.tensordot(u_hat, wave.to(u_hat.dtype), dims=([2], [1]))  # type: ignore[arg-type]
    weight = torch.complex(layer.weight_hat[0], layer.weight_hat[1]).to(u_hat.dtype)
    v = torch.einsum("bc...,...co->bo...", u_hat, weight)
    for axis, (n, k) in enumerate(zip(points, numbers, strict=True)):
        last = axis == ndim - 1
        moved = k if last or n % 2 == 0 else k + shift
        wave = torch.exp(2j * torch.pi * moved[:, None] * torch.arange(n) / n).to(u_hat.dtype)
        if last:
            wave = wave * torch.where((k == 0) | (2 * k == n), 1.0, 2.0)[:, None]
        v = torch.tensordot(v, wave, dims=([2], [0]))  # type: ignore[arg-type]
    bias = 0 if layer.bias is None else layer.bias.reshape(-1, *(1,) * ndim)
    return v.real + bias


@pytest.mark.parametrize(("points", "modes"), SIZES)
def test_equals_the_direct_sum(points, modes):
    layer = SpectralConvolution(3, 4, modes)
    u = torch.randn(2, 3, *points)
    exact = direct_sum(layer, u)
    assert relative_error(layer(u), exact) < 1e-12
    single = layer.float()(u.float())
    assert single.dtype == torch.float32
    assert relative_error(single, exact) < 1e-5


@pytest.mark.parametrize(("points", "modes"), SIZES)
def test_matrix_products_equal_the_fft(points, modes, monkeypatch):
    u = torch.randn(2, 3, *points)
    kept = (*modes[:-1], modes[-1] // 2 + 1)
    monkeypatch.setattr(kept_modes, "MATRIX_MODES", 1000)
    by_matrix = kept_modes.gather_modes(u, kept)
    monkeypatch.setattr(kept_modes, "MATRIX_MODES", 0)
    by_fft = kept_modes.gather_modes(u, kept)
    assert by_matrix.shape == by_fft.shape == (2, *kept, 2, 3)
    assert torch.allclose(by_matrix, by_fft, rtol=0, atol=1e-14)
    back = kept_modes.spread_modes(by_fft, points)
    monkeypatch.setattr(kept_modes, "MATRIX_MODES", 1000)
    assert torch.allclose(kept_modes.spread_modes(by_fft, points), back, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("points", "modes"), SIZES)
def test_equals_neuraloperator_with_equal_weights(points, modes):
    from neuralop.layers.spectral_convolution import SpectralConv

    torch.set_default_dtype(torch.float32)
    theirs = SpectralConv(3, 4, modes)
    ours = SpectralConvolution(3, 4, modes)
    ours.load_state_dict(from_neuraloperator(theirs.state_dict()))
    u = torch.randn(2, 3, *points)
    if any(n % 2 for n in points[:-1]):
        # neuraloperator 2.0 undoes fftshift by fftshift, which moves all modes of an odd axis by one.
        expected = direct_sum(ours, u, shift=-1).float()
        assert relative_error(theirs(u), expected) < 1e-5
        assert relative_error(ours(u), theirs(u)) > 0.1
    else:
        assert relative_error(ours(u), theirs(u)) < 1e-5


def test_starts_from_neuraloperators_distribution():
    from neuralop.layers.spectral_convolution import SpectralConv

    theirs, ours = SpectralConv(64, 32, (16, 16)), SpectralConvolution(64, 32, (16, 16))
    weight = theirs.weight.tensor.detach()  # type: ignore[union-attr]
    for part, values in zip(ours.weight_hat.detach(), (weight.real, weight.imag), strict=True):
        assert float(part.std()) == pytest.approx(float(values.std()), rel=0.02)
    bias = SpectralConvolution(1, 4000, (2,)).state_dict()["bias"]
    assert float(bias.std()) == pytest.approx((2 / 4001) ** 0.5, rel=0.1)


def test_state_dict_goes_to_neuraloperator_and_back():
    from neuralop.layers.spectral_convolution import SpectralConv

    ours = SpectralConvolution(3, 4, (6, 5)).float()
    theirs = SpectralConv(3, 4, (6, 5))
    theirs.load_state_dict(to_neuraloperator(ours.state_dict()))
    u = torch.randn(2, 3, 12, 12, dtype=torch.float32)
    assert torch.allclose(theirs.float()(u), ours(u), rtol=1e-5, atol=1e-5)
    back = from_neuraloperator(theirs.state_dict())
    assert set(ours.state_dict()) == {"weight_hat", "bias"} == set(back)
    assert all(torch.equal(value, back[name]) for name, value in ours.state_dict().items())


def test_without_bias():
    layer = SpectralConvolution(2, 2, (4, 4), bias=False)
    u = torch.randn(1, 2, 8, 8)
    assert torch.allclose(layer(u), direct_sum(layer, u), rtol=0, atol=1e-13)
    assert set(layer.state_dict()) == {"weight_hat"}
    assert set(from_neuraloperator(to_neuraloperator(layer.state_dict()))) == {"weight_hat"}


@pytest.mark.parametrize(("coarse", "modes"), [((16,), (8,)), ((12, 16), (5, 6))])
def test_other_resolutions_show_the_same_function(coarse, modes):
    """A band-limited field on twice the points, or the coarse field with a finer output, give the same values."""
    layer = SpectralConvolution(2, 3, modes)
    fine = tuple(2 * n for n in coarse)
    field = SpectralConvolution(1, 2, tuple(m - 1 - m % 2 for m in modes))(torch.randn(2, 1, *fine))
    every_other = (..., *(slice(None, None, 2) for _ in coarse))
    on_coarse, on_fine = layer(field[every_other]), layer(field)
    assert torch.allclose(on_fine[every_other], on_coarse, rtol=0, atol=1e-12)
    assert torch.allclose(layer(field[every_other], output_shape=fine), on_fine, rtol=0, atol=1e-12)
    scaled = SpectralConvolution(2, 3, modes, scaling=(2.0,) * len(modes))
    scaled.load_state_dict(layer.state_dict())
    assert torch.allclose(scaled(field[every_other]), on_fine, rtol=0, atol=1e-12)
    assert torch.allclose(scaled.transform(field[every_other]), field, rtol=0, atol=1e-12)
    assert layer.transform(field) is field


def test_neuraloperators_blocks_call_it_with_scaling():
    from neuralop.layers.fno_block import FNOBlocks

    blocks = FNOBlocks(2, 2, (4, 4), resolution_scaling_factor=2, conv_module=spectral_conv_module)  # type: ignore[arg-type]
    blocks = blocks.double()
    assert blocks(torch.randn(1, 2, 8, 8)).shape == (1, 2, 16, 16)
    assert blocks(torch.randn(1, 2, 8, 8), output_shape=(10, 12)).shape == (1, 2, 10, 12)


@pytest.mark.parametrize("limit", [0, 1000], ids=["fft", "matrix"])
@pytest.mark.parametrize(
    ("points", "modes"), [((7,), (4,)), ((4, 6), (3, 6)), ((5, 3), (4, 3)), ((3, 4, 3), (2, 3, 2))]
)
def test_derivatives_of_first_and_second_order(points, modes, limit, monkeypatch):
    monkeypatch.setattr(kept_modes, "MATRIX_MODES", limit)
    layer = SpectralConvolution(2, 1, modes)
    inputs = [torch.randn(2, 2, *points), layer.weight_hat.detach(), layer.bias.detach()]  # type: ignore[union-attr]

    def call(u, weight_hat, bias):
        return torch.func.functional_call(layer, {"weight_hat": weight_hat, "bias": bias}, (u,))

    leaves = [value.clone().requires_grad_() for value in inputs]
    assert torch.autograd.gradcheck(call, leaves, atol=1e-7, rtol=1e-6)
    if len(points) < 3:
        assert torch.autograd.gradgradcheck(call, leaves, atol=1e-7, rtol=1e-6)


def test_function_transforms():
    layer = SpectralConvolution(2, 2, (4, 3))
    u = torch.randn(3, 2, 8, 6)
    one_by_one = torch.func.vmap(lambda row: layer(row[None])[0])(u)
    assert torch.allclose(one_by_one, layer(u), rtol=0, atol=1e-13)
    leaf = u.clone().requires_grad_()
    expected = torch.autograd.grad(layer(leaf).square().sum(), leaf)[0]
    assert torch.allclose(torch.func.grad(lambda v: layer(v).square().sum())(u), expected, rtol=0, atol=1e-13)


def test_empty_batch():
    assert SpectralConvolution(2, 3, (4, 4))(torch.zeros(0, 2, 8, 8)).shape == (0, 3, 8, 8)


def test_compiles_whole_and_follows_the_resolution():
    """Without the annotation hook: one graph, equal to eager, also at a second resolution and in the backward."""
    code = """
import torch
from sciml.surrogates.networks import SpectralConvolution
layer = SpectralConvolution(2, 3, (4, 4)).double()
compiled = torch.compile(layer, fullgraph=True)
for points in (8, 10):
    u = torch.randn(2, 2, points, points, dtype=torch.float64, requires_grad=True)
    for a, b in zip(*(torch.autograd.grad(f(u).square().sum(), [u, *layer.parameters()]) for f in (layer, compiled))):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((0, 1, (4,)), "`in_channels` and `out_channels` must be at least 1, got 0 and 1"),
        ((1, 1, ()), "`modes` must hold one number of at least 1 per space axis"),
        ((1, 1, (4, 0)), "`modes` must hold one number of at least 1 per space axis"),
        ((1, 1, (4, 4, 4, 4)), "for 1 to 3 axes"),
    ],
)
def test_refuses_arguments(arguments, rule):
    with pytest.raises(ValueError, match=rule):
        SpectralConvolution(*arguments)


@pytest.mark.parametrize("scaling", [(2.0,), (2.0, 0.0), (2.0, float("nan"))])
def test_refuses_scaling(scaling):
    with pytest.raises(ValueError, match="`scaling` must hold one positive factor per space axis"):
        SpectralConvolution(1, 1, (4, 4), scaling=scaling)


@pytest.mark.parametrize(
    "option",
    [
        {"factorization": "Tucker"},
        {"separable": True},
        {"fno_block_precision": "half"},
        {"fno_block_precision": "mixed"},
        {"complex_data": True},
        {"max_n_modes": (8, 8)},
    ],
    ids=str,
)
def test_refuses_by_name_what_neuraloperator_may_ask(option):
    with pytest.raises(ValueError, match=f"got {next(iter(option))}="):
        spectral_conv_module(2, 2, (4, 4), **option)
    assert isinstance(spectral_conv_module(2, 2, (4, 4), max_n_modes=(4, 4)), nn.Module)


def test_refuses_inputs():
    layer = SpectralConvolution(2, 3, (4, 6))
    with pytest.raises(ValueError, match=r"must have shape \(batch, 2, \*space\) with 2 space axes"):
        layer(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"must have shape \(batch, 2, \*space\) with 2 space axes"):
        layer(torch.zeros(1, 2, 8))
    with pytest.raises(ValueError, match=r"at least as many points as kept modes \(4, 6\), got \(8, 5\)"):
        layer(torch.zeros(1, 2, 8, 5))
    with pytest.raises(ValueError, match="every axis of `output_shape` must have at least as many points"):
        layer(torch.zeros(1, 2, 8, 8), output_shape=(8, 4))
    with pytest.raises(TypeError, match="must be float32 or float64 as the weights are"):
        layer(torch.zeros(1, 2, 8, 8, dtype=torch.float32))
    with pytest.raises(TypeError, match="weights torch.bfloat16"):
        SpectralConvolution(2, 3, (4, 6)).bfloat16()(torch.zeros(1, 2, 8, 8, dtype=torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(TypeError, match="autocast on"):
        layer(torch.zeros(1, 2, 8, 8))
