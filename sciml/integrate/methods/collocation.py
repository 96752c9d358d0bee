"""Coefficients of collocation methods, made of their nodes and proved when they are built:

    z_i = h sum_j a_ij f(t0 + c_j h, y0 + z_j),    y1 = y0 + sum_i d_i z_i,    d^T = b^T A^-1
    a_ij = int_0^(c_i) L_j,    b_j = int_0^1 L_j,    u(t0 + theta h) = y0 + sum_i p_i(theta) z_i

with L_j the Lagrange polynomials of the nodes, and p_i those of the nodes and 0. The method is fixed by how well it
integrates (B), by what its stages are (C) and by what they are together with b (D):

    B(p): sum_i b_i c_i^(k-1) = 1/k, k <= p
    C(q): sum_j a_ij c_j^(k-1) = c_i^k / k, k <= q
    D(r): sum_i b_i c_i^(k-1) a_ij = b_j (1 - c_j^k) / k, k <= r

A = V M V^-1 with M diagonal splits linear systems of all stages into one per eigenvalue, real or complex.

Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.5 (conditions), IV.8 (splitting).
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from sciml.integrate.methods.tableau import elementary_weights, rooted_trees

_TOLERANCE = 1e-13


@final
@dataclass(frozen=True)
class Mode:
    """An eigenvalue of A, or one of a complex pair.

    Args:
        shift: the eigenvalue: systems are (I - h shift J) x = r.
        rows: the rows of the transformed stages that belong to it: one of a real eigenvalue, else real and imaginary
            part.
    """

    shift: float | complex
    rows: tuple[int, ...]


@final
@dataclass(frozen=True)
class CollocationTableau:
    """A collocation method.

    Args:
        c: nodes, in (0, 1], rising.
        order: of the result.
        filter_shift: gamma_0 of the error estimate, or None where there is none: the weight of f(t0, y0) in the
            embedded formula of order `stages` over 0 and the nodes, and the shift of the system that filters it.

    Raises:
        ValueError: unless the nodes rise within (0, 1], B(order), C(stages), D(order - stages) and the conditions of
            every tree up to the order hold, and the eigenvectors rebuild A.
    """

    c: tuple[float, ...]
    order: int
    filter_shift: float | None = None
    a: np.ndarray = field(init=False, repr=False, compare=False)
    """(stage, stage)."""
    b: np.ndarray = field(init=False, repr=False, compare=False)
    """(stage,)."""
    end: np.ndarray = field(init=False, repr=False, compare=False)
    """d, (stage,)."""
    error: np.ndarray | None = field(init=False, repr=False, compare=False)
    """Weights of z in the error estimate, (stage,)."""
    dense: np.ndarray = field(init=False, repr=False, compare=False)
    """Row i holds the coefficients of theta, theta², ... in p_i, (stage, stage)."""
    modes: tuple[Mode, ...] = field(init=False, repr=False, compare=False)
    to_modes: np.ndarray = field(init=False, repr=False, compare=False)
    """From stages to transformed stages, real, (stage, stage)."""
    from_modes: np.ndarray = field(init=False, repr=False, compare=False)
    """And back, for the solution of a transformed system."""

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.c)

    @property
    def ends_at_node(self) -> bool:
        """Whether the last stage is the result."""
        return self.c[-1] == 1.0

    def __post_init__(self) -> None:
        c, stages = np.array(self.c), len(self.c)
        if not (stages > 0 and c[0] > 0 and c[-1] <= 1 and bool((np.diff(c) > 0).all())):
            raise ValueError(f"Collocation: nodes must rise within (0, 1], got {self.c}.")
        basis = np.linalg.inv(np.vander(c, stages, increasing=True))  # column j: coefficients of L_j
        powers = np.arange(1, stages + 1)
        put = self.__dict__
        put["a"] = (c[:, None] ** powers / powers) @ basis
        put["b"] = (1 / powers) @ basis
        put["end"] = np.linalg.solve(self.a.T, self.b)
        put["dense"] = np.linalg.inv(c[:, None] ** powers).T
        if self.ends_at_node:
            put["end"] = np.array([0.0] * (stages - 1) + [1.0])
        put["error"] = None if self.filter_shift is None else self._error_weights(self.filter_shift)
        self._split()
        self._check()

    def _error_weights(self, shift: float) -> np.ndarray:
        """(b_hat - b)^T A^-1, b_hat of order `stages` with the weight `shift` on f(t0, y0)."""
        powers = np.arange(1, self.stages + 1)
        wanted = 1 / powers - shift * (powers == 1)
        b_hat = np.linalg.solve(np.array(self.c)[None] ** (powers[:, None] - 1), wanted)
        return np.linalg.solve(self.a.T, b_hat - self.b)

    def _split(self) -> None:
        """Eigenvalues and vectors, those of a complex pair as real and imaginary part of one of them."""
        values, right = np.linalg.eig(self.a)
        left = np.linalg.inv(right)
        modes, rows, columns = [], [], []
        for value, row, column in zip(values, left, right.T, strict=True):
            if value.imag == 0:
                modes.append(Mode(float(value.real), (len(rows),)))
                rows.append(row.real)
                columns.append(column.real)
            elif value.imag > 0:  # the other of the pair is its conjugate: twice the real part is the sum of both
                modes.append(Mode(complex(value), (len(rows), len(rows) + 1)))
                rows += [row.real, row.imag]
                columns += [2 * column.real, -2 * column.imag]
        self.__dict__.update(modes=tuple(modes), to_modes=np.array(rows), from_modes=np.array(columns).T)

    def _check(self) -> None:
        c, a, b, stages = np.array(self.c), self.a, self.b, self.stages
        trees = rooted_trees(self.order)
        phi = elementary_weights(a, self.order)
        conditions = {f"B({k})": (b @ c ** (k - 1), 1 / k) for k in range(1, self.order + 1)}
        conditions |= {f"C({k})": (a @ c ** (k - 1), c**k / k) for k in range(1, stages + 1)}
        conditions |= {
            f"D({k})": ((b * c ** (k - 1)) @ a, b * (1 - c**k) / k) for k in range(1, self.order - stages + 1)
        }
        conditions |= {f"the tree {t.text}": (phi[i] @ b, 1 / t.density) for i, t in enumerate(trees)}
        conditions["d A = b"] = (self.end @ a, b)
        conditions["the splitting of I"] = (self.from_modes @ self.to_modes, np.eye(stages))
        conditions["the splitting of A"] = (self.from_modes @ self._blocks() @ self.to_modes, a)
        for name, (have, want) in conditions.items():
            worst = float(np.abs(np.asarray(have) - want).max())
            if not worst <= _TOLERANCE:
                raise ValueError(
                    f"Collocation: {name} must hold for order {self.order} at the nodes {self.c}, got {worst:.3g} "
                    "between its sides. Correct the nodes or the order."
                )

    def _blocks(self) -> np.ndarray:
        """A between transformed stages."""
        blocks = np.zeros_like(self.a)
        for mode in self.modes:
            blocks[mode.rows[0], mode.rows[0]] = mode.shift.real
            if len(mode.rows) == 2:
                i, j = mode.rows
                blocks[j, j], blocks[i, j], blocks[j, i] = mode.shift.real, -mode.shift.imag, mode.shift.imag
        return blocks
