"""Coefficients of diagonally implicit Runge-Kutta methods, alone or with an explicit partner, proved when built:

    Y_i = y0 + h sum_(j <= i) a_ij f_I(t0 + c_j h, Y_j) + h sum_(j < i) a_ij^E f_E(t0 + c_j h, Y_j)
    y1  = y0 + h sum_i b_i (f_I + f_E)(Y_i),    error = h sum_i e_i (f_I + f_E)(Y_i)

with one number gamma on the diagonal, or 0 in the first stage, so that one matrix I - h gamma J serves all stages.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from sciml.integrate.methods.coefficients import TOLERANCE, check_equal
from sciml.integrate.methods.coloured_trees import ColouredTree, coloured_trees


@final
@dataclass(frozen=True)
class DIRKTableau:
    """Nodes and weights of a diagonally implicit method.

    Args:
        c: nodes of the stages.
        a: row i holds the weights of stage i on the stages 0 to i, its own included.
        b: weights of the result.
        order: order of the result.
        error: weights e = b - b_hat of the error estimate, or None.
        error_order: power of h that the estimate is proportional to, one more than the order of b_hat; 0 without one.
        filtered: whether the estimate is to be multiplied by (I - h gamma J)^-1, because b_hat is not bounded on stiff
            components.
        explicit: row i holds the weights of stage i on slopes of the explicit part in the stages before it; or None.

    Raises:
        ValueError: unless the lengths fit, the diagonal is one number, rows sum to the nodes, b and b - error satisfy
            the conditions of every tree (of both colours, if there is an explicit partner) up to their orders, and the
            estimate does not vanish at `error_order`.

    Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.6; Kennedy & Carpenter (2003), Appl.
    Numer. Math. 44, 139-181, section 2.
    """

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    order: int
    error: tuple[float, ...] | None = None
    error_order: int = 0
    filtered: bool = False
    explicit: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        self._check_lengths()
        matrices = [self.matrix] if self.explicit is None else [self.matrix, self.explicit_matrix]
        for matrix in matrices:
            check_equal(
                "DIRK", matrix.sum(axis=1), np.array(self.c), lambda i: f"the row sum of stage {i}, as its node c,"
            )
        trees = coloured_trees(matrices, max(self.order, self.error_order))
        _check_order("b", np.array(self.b), trees, self.order)
        if self.error is not None:
            self._check_error(np.array(self.error), trees)

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.c)

    @property
    def gamma(self) -> float:
        """The number on the diagonal."""
        return self.a[-1][-1]

    @property
    def first_explicit(self) -> bool:
        """Whether the first stage is (t0, y0) itself."""
        return self.a[0][0] == 0.0

    @property
    def stiffly_accurate(self) -> bool:
        """Whether the last stage is (t1, y1), as far as the implicit part goes."""
        return all(
            abs(have - want) <= 1e-14 for have, want in zip((*self.a[-1], self.c[-1]), (*self.b, 1.0), strict=True)
        )

    @cached_property
    def matrix(self) -> np.ndarray:
        """a as a square matrix."""
        return _square(self.a)

    @cached_property
    def explicit_matrix(self) -> np.ndarray:
        """The explicit weights as a square matrix."""
        assert self.explicit is not None
        return _square(((), *self.explicit))

    def stability(self, z: complex, *, embedded: bool = False) -> complex:
        """R(z) = 1 + z b^T (I - z A)^-1 1, the factor of one step on y' = lambda y, z = h lambda.

        Args:
            z: h lambda.
            embedded: of b_hat instead of b.
        """
        b = np.array(self.b) - (np.array(self.error) if embedded else 0.0)
        one = np.ones(self.stages)
        return complex(1 + z * b @ np.linalg.solve(np.eye(self.stages) - z * self.matrix, one))

    def _check_lengths(self) -> None:
        diagonal = {row[-1] for row in self.a[1:]} | ({self.a[0][0]} - {0.0})
        error_length = self.stages if self.error is None else len(self.error)
        lengths = [
            ("`order > 0`", self.order > 0, True),
            ("the lengths of the rows of a", [len(row) for row in self.a], list(range(1, self.stages + 1))),
            ("the length of b", len(self.b), self.stages),
            ("the length of error", error_length, self.stages),
            ("`error_order > 0`, true with an error only,", self.error_order > 0, self.error is not None),
            ("the count of numbers on the diagonal, 0 in the first stage aside,", len(diagonal), 1),
        ]
        if self.explicit is not None:
            rows = [len(row) for row in self.explicit]
            lengths.append(("the lengths of the rows of explicit", rows, list(range(1, self.stages))))
        for what, have, want in lengths:
            if have != want:
                raise ValueError(f"DIRK tableau: {what} must be {want}, got {have}.")

    def _check_error(self, error: np.ndarray, trees: list[ColouredTree]) -> None:
        _check_order("b - error", np.array(self.b) - error, trees, self.error_order - 1)
        largest = max(abs(float(tree.weights @ error)) for tree in trees if tree.nodes == self.error_order)
        if not largest > 1e3 * TOLERANCE:
            raise ValueError(
                f"DIRK tableau: the error estimate must not vanish at error_order={self.error_order}, got "
                f"{largest:.3g} as its largest sum over the trees of that order, so b_hat is not of a lower order."
            )


def _square(rows: tuple[tuple[float, ...], ...]) -> np.ndarray:
    matrix = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = row
    return matrix


def _check_order(what: str, weights: np.ndarray, trees: list[ColouredTree], order: int) -> None:
    wanted = [tree for tree in trees if tree.nodes <= order]
    check_equal(
        "DIRK",
        np.array([tree.weights @ weights for tree in wanted]),
        np.array([1 / tree.density for tree in wanted]),
        lambda i: f"the sum of {what} over the tree {wanted[i].text} of order {wanted[i].nodes}",
    )
