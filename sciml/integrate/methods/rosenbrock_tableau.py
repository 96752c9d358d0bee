"""Coefficients of Rosenbrock methods, proved when they are built. In the form with products of J,

    k_i = h f(t0 + c_i h, y0 + sum_(j<i) alpha_ij k_j) + h J sum_(j<=i) Gamma_ij k_j + h² d_i df/dt,    y1 = y0 + b k

which the transformation u = Gamma k takes to the form that is computed (`rosenbrock.py`):

    Gamma = (I/g - C)^-1,    alpha = a Gamma,    b = m Gamma,    c_i = sum_j alpha_ij,    d_i = sum_j Gamma_ij

The order conditions are those of Runge-Kutta methods, sum_i b_i Phi_i(tree) = 1 / gamma(tree), but

    Phi_i([u]) = sum_j (alpha + Gamma)_ij Phi_j(u),
    Phi_i([u v ...]) = (sum_j alpha_ij Phi_j(u)) (sum_j alpha_ij Phi_j(v)) ...    for two subtrees and more

By the sums for c_i and d_i, which are those of the equation t' = 1, the order for fields of time is the same.

Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.7: theorem 7.3 and eq. (7.23)-(7.25).
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from sciml.integrate.methods.coefficients import TOLERANCE, check_equal
from sciml.integrate.methods.tableau import check_order, rooted_trees

Triangle = tuple[tuple[float, ...], ...]


@final
@dataclass(frozen=True)
class RosenbrockTableau:
    """Coefficients of a Rosenbrock method in the form without products of J.

    Args:
        gamma: g, the diagonal of Gamma.
        a: row i holds the weights of stage i + 1 on the stages 0 to i.
        c: C, likewise.
        m: weights of the result.
        nodes: c_i, where the stages are in time.
        drifts: d_i, their weights of df/dt.
        error: weights of the error estimate, m - m_hat.
        dense: row i holds the coefficients of theta, theta², ... in m_i(theta).
        order: order of the result.
        error_order: power of h that the estimate is proportional to, one more than the order of m_hat.
        dense_order: order of the dense output at every theta.

    Raises:
        ValueError: unless the lengths fit, nodes and drifts are the sums above, m, m - error and dense satisfy the
            conditions of every tree up to their orders, the estimate does not vanish at `error_order`, and m(1) = m.
    """

    gamma: float
    a: Triangle
    c: Triangle
    m: tuple[float, ...]
    nodes: tuple[float, ...]
    drifts: tuple[float, ...]
    error: tuple[float, ...]
    dense: Triangle
    order: int
    error_order: int
    dense_order: int

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.m)

    def __post_init__(self) -> None:
        self._check_lengths()
        alpha, beta, gammas = self.matrices()
        check_equal(
            "Rosenbrock", alpha.sum(1), np.array(self.nodes), lambda i: f"the node of stage {i}, the row sum of alpha,"
        )
        check_equal(
            "Rosenbrock",
            gammas.sum(1),
            np.array(self.drifts),
            lambda i: f"the drift of stage {i}, the row sum of Gamma,",
        )
        phi = _elementary_weights(alpha, beta, max(self.order, self.error_order, self.dense_order))
        m, error = np.array(self.m), np.array(self.error)
        check_order("Rosenbrock", m @ gammas, phi, self.order, "m")
        check_order("Rosenbrock", (m - error) @ gammas, phi, self.error_order - 1, "m - error")
        sizes = np.array([tree.nodes for tree in rooted_trees(self.error_order)])
        largest = float(np.abs(phi[: len(sizes)][sizes == self.error_order] @ (error @ gammas)).max())
        if not largest > 1e3 * TOLERANCE:
            raise ValueError(
                f"Rosenbrock tableau: the error estimate must not vanish at error_order={self.error_order}, got "
                f"{largest:.3g} as its largest sum over the trees of that order. State a higher error_order."
            )
        self._check_dense(phi, gammas)

    def matrices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """alpha, alpha + Gamma and Gamma."""
        size = self.stages
        a, c = np.zeros((size, size)), np.zeros((size, size))
        for i, (row_a, row_c) in enumerate(zip(self.a, self.c, strict=True), start=1):
            a[i, :i], c[i, :i] = row_a, row_c
        gammas = np.linalg.inv(np.eye(size) / self.gamma - c)
        alpha = a @ gammas
        return alpha, alpha + gammas, gammas

    def _check_lengths(self) -> None:
        size, triangle = self.stages, list(range(1, self.stages))
        width = len(self.dense[0]) if self.dense else 0
        lengths = [
            ("`gamma > 0`", self.gamma > 0, True),
            ("the lengths of the rows of a", [len(row) for row in self.a], triangle),
            ("the lengths of the rows of c", [len(row) for row in self.c], triangle),
            ("the length of nodes", len(self.nodes), size),
            ("the length of drifts", len(self.drifts), size),
            ("the length of error", len(self.error), size),
            ("the lengths of the rows of dense", [len(row) for row in self.dense], [width] * size),
            ("dense_order, at most the powers in dense,", min(self.dense_order, width), self.dense_order),
        ]
        for what, have, want in lengths:
            if have != want:
                raise ValueError(f"Rosenbrock tableau: {what} must be {want}, got {have}. Look the method up again.")

    def _check_dense(self, phi: np.ndarray, gammas: np.ndarray) -> None:
        dense, trees = np.array(self.dense), rooted_trees(self.dense_order)
        have = phi[: len(trees)] @ gammas.T @ dense
        want = np.zeros_like(have)
        for i, tree in enumerate(trees):
            want[i, tree.nodes - 1] = 1 / tree.density
        width = dense.shape[1]

        def name(i: int) -> str:
            tree = trees[i // width]
            return f"the coefficient of theta^{i % width + 1} in dense on the tree {tree.text} of order {tree.nodes}"

        check_equal("Rosenbrock", have.ravel(), want.ravel(), name)
        check_equal("Rosenbrock", dense.sum(1), np.array(self.m), lambda i: f"dense at theta = 1, as m, of stage {i}")


def _elementary_weights(alpha: np.ndarray, beta: np.ndarray, order: int) -> np.ndarray:
    """Phi_i(tree) of the stages i, one row per tree of `rooted_trees(order)`."""
    trees = rooted_trees(order)
    phi = np.ones((len(trees), len(alpha)))
    for i, tree in enumerate(trees):
        matrix = beta if len(tree.children) == 1 else alpha
        for child in tree.children:
            phi[i] *= matrix @ phi[child]
    return phi
