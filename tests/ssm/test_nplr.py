"""Diagonal plus low rank: the published frequencies, and the matrix put together again."""

import dataclasses
from typing import final

import pytest
import torch
from torch import Tensor

from sciml.ssm import frequencies
from sciml.ssm.hippo import AbstractNormalOperator, FouT, LagT, LegS, LegT
from sciml.ssm.nplr import dplr

PUBLISHED = {
    4: [4.6033, 0.5565],
    8: [19.857, 5.354, 1.958, 0.4275],
    16: [80.966, 25.629, 13.834, 8.362],
    64: [1303.27, 433.03, 258.15, 182.62],
    256: [20860.2],
}


@pytest.mark.parametrize("states", PUBLISHED)
def test_frequencies_of_legs_are_the_published_ones(states: int) -> None:
    found = dplr(LegS(), states).eigenvalues
    torch.testing.assert_close(found.real, torch.full((states // 2,), -0.5), rtol=0, atol=1e-9)
    expected = torch.tensor(PUBLISHED[states])
    torch.testing.assert_close(found.imag[: len(expected)], expected, rtol=2e-4, atol=0)
    assert torch.equal(frequencies.s4d_legs(states), found)


def test_last_frequencies_of_legs() -> None:
    assert dplr(LegS(), 16).eigenvalues[-1].imag.item() == pytest.approx(0.352, abs=5e-4)
    last = dplr(LegS(), 64).eigenvalues[-3:].imag
    torch.testing.assert_close(last, torch.tensor([1.703, 0.906, 0.264]), rtol=0, atol=5e-4)


@pytest.mark.parametrize("states", [2, 8, 64, 256])
@pytest.mark.parametrize("operator", [LegS(), LegT(), LegT(window=2.0), LagT(), FouT(), FouT(window=2.0)], ids=str)
def test_the_parts_make_the_matrix_again(operator: AbstractNormalOperator, states: int) -> None:
    a, b = operator.transition(states)
    parts = dplr(operator, states)
    v = torch.cat([parts.vectors, parts.vectors.conj()], dim=1)
    torch.testing.assert_close(v.mH @ v, torch.eye(states).to(v), rtol=0, atol=1e-11)
    eigenvalues = torch.cat([parts.eigenvalues, parts.eigenvalues.conj()])
    p = torch.cat([parts.p, parts.p.conj()])
    again = v @ (torch.diag(eigenvalues) - p @ p.mH) @ v.mH
    residual = (again - a).abs().max() / a.abs().max()
    assert residual < 3e-12
    assert ((v @ torch.cat([parts.b, parts.b.conj()])) - b).abs().max() < 1e-10 * b.abs().max()
    assert bool((parts.eigenvalues.imag >= 0).all()) and bool((parts.eigenvalues.imag.diff() <= 0).all())


def test_initialisations_of_s4d_are_the_published_formulas() -> None:
    inv = frequencies.s4d_inv(64)
    torch.testing.assert_close(inv.imag[:4], torch.tensor([1283.43, 414.23, 240.39, 165.88]), rtol=0, atol=6e-3)
    assert inv.imag[-1].item() == pytest.approx(0.323, abs=5e-4)
    assert frequencies.s4d_inv(256).imag[0].item() == pytest.approx(20779.3, abs=0.06)
    n = torch.arange(8)
    torch.testing.assert_close(frequencies.s4d_lin(16), torch.complex(torch.full((8,), -0.5), torch.pi * n))
    quad = torch.complex(torch.full((8,), -0.5), (1 + 2 * n) ** 2 / torch.pi)
    torch.testing.assert_close(frequencies.s4d_quad(16), quad)
    torch.testing.assert_close(frequencies.s4d_real(3), torch.tensor([-1.0, -2.0, -3.0]))


@pytest.mark.parametrize("make", [frequencies.s4d_lin, frequencies.s4d_inv, frequencies.s4d_quad, frequencies.s4d_legs])
def test_odd_sizes_are_refused(make) -> None:
    with pytest.raises(ValueError, match="`states` must be even, .* got 7. Take 8"):
        make(7)


def test_a_matrix_that_is_not_of_this_form_is_refused() -> None:
    @final
    @dataclasses.dataclass(frozen=True)
    class Wrong(AbstractNormalOperator):
        @property
        def span(self) -> float:
            return 1.0

        def transition(self, states: int) -> tuple[Tensor, Tensor]:
            return LegS().transition(states)

        def kernels(self, states: int, ages: Tensor) -> Tensor:
            return LegS().kernels(states, ages)

        def duals(self, states: int, ages: Tensor) -> Tensor:
            return LegS().duals(states, ages)

        def low_rank(self, states: int) -> Tensor:
            return 2 * LegS().low_rank(states)

    with pytest.raises(ValueError, match="multiple of the identity plus a skew matrix, .* Correct `low_rank`"):
        dplr(Wrong(), 4)


def test_diagonal_legs_is_close_to_legs_only_weakly() -> None:
    """Check 9: basis 0 on [0, inf), in closed form; raw and after a moving average."""
    raw, smooth = [], []
    for states in (16, 64, 256, 1024):
        found = dplr(LegS(), states)
        # Basis 0 of LegS-D: row 0 of V exp(Lambda s) V* B/2, one of each pair kept; the exact one is exp(-s).
        weights = found.vectors[0] * found.b / 2
        w = torch.cat([weights, weights.conj(), torch.tensor([-1.0 + 0j])])
        z = torch.cat([found.eigenvalues, found.eigenvalues.conj(), torch.tensor([-1.0 + 0j])])
        raw.append(norm(w, z))
        smooth.append(norm(w * torch.expm1(0.1 * z) / (0.1 * z), z))
    exact = torch.tensor([1.0 + 0j]), torch.tensor([-1.0 + 0j])
    scale, smooth_scale = norm(*exact), norm(-torch.expm1(torch.tensor([-0.1 + 0j])) / 0.1, exact[1])
    assert [r / scale for r in raw] == pytest.approx([0.704, 0.707, 0.707, 0.707], abs=1e-3)
    assert [s / smooth_scale for s in smooth] == pytest.approx([0.294, 0.071, 0.018, 0.0045], abs=6e-4)


def norm(weights: Tensor, exponents: Tensor) -> float:
    """Of sum w exp(z s) on [0, inf)."""
    gram = -1 / (exponents[:, None] + exponents.conj())
    return float((weights @ gram @ weights.conj()).real.sqrt())
