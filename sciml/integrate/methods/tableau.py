"""Coefficients of explicit Runge-Kutta methods, proved when they are built:

    k_i = f(t + c_i h, y + h sum_{j < i} a_ij k_j)
    y1 = y + h sum_i b_i k_i,    y(t + theta h) = y + h sum_i b_i(theta) k_i,    error = h sum_i e_i k_i

Solution and method are series over rooted trees, and weights b have order p exactly if they agree on all small trees:

    sum_i b_i Phi_i(tree) = 1 / gamma(tree)    for every tree of at most p nodes
    Phi_i([u v ...]) = (sum_j a_ij Phi_j(u)) (sum_j a_ij Phi_j(v)) ...
    gamma([u v ...]) = |tree| gamma(u) gamma(v) ...
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np

from sciml.integrate.methods.coefficients import TOLERANCE, check_equal


@final
@dataclass(frozen=True)
class RootedTree:
    """A root with smaller trees on it.

    Args:
        children: positions of the subtrees in `rooted_trees`, never falling.
        nodes: number of nodes |tree|, the root counted.
        density: gamma(tree).
        text: the tree in brackets; `.` is a single node.
    """

    children: tuple[int, ...]
    nodes: int
    density: int
    text: str


@cache
def rooted_trees(order: int) -> tuple[RootedTree, ...]:
    """All rooted trees of at most `order` nodes, small ones first.

    Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, section II.2.
    """
    if order < 1:
        return ()
    smaller = rooted_trees(order - 1)
    new = []
    for children in _forests(smaller, order - 1, 0):
        density = order * int(np.prod([smaller[i].density for i in children], dtype=np.int64))
        text = "[" + "".join(smaller[i].text for i in children) + "]" if children else "."
        new.append(RootedTree(children=children, nodes=order, density=density, text=text))
    return (*smaller, *new)


def _forests(trees: tuple[RootedTree, ...], nodes: int, first: int) -> Iterator[tuple[int, ...]]:
    """Sets of trees with `nodes` nodes in all, as positions from `first` on that never fall."""
    if nodes == 0:
        yield ()
    for i in range(first, len(trees)):
        if trees[i].nodes > nodes:
            return
        for rest in _forests(trees, nodes - trees[i].nodes, i):
            yield (i, *rest)


def elementary_weights(a: np.ndarray, order: int) -> np.ndarray:
    """Phi_i(tree) of the stages i with weights `a`, one row per tree of `rooted_trees(order)`."""
    trees = rooted_trees(order)
    phi = np.empty((len(trees), len(a)))
    moved = np.empty_like(phi)
    for i, tree in enumerate(trees):
        phi[i] = np.prod(moved[list(tree.children)], axis=0)
        moved[i] = a @ phi[i]
    return phi


@final
@dataclass(frozen=True)
class ButcherTableau:
    """Nodes and weights of an explicit Runge-Kutta method, with its error estimate and its dense output.

    Args:
        c: nodes of the stages, c[0] = 0.
        a: row i holds the weights of stage i + 1 on the stages 0 to i.
        b: weights of the result.
        order: order of the result.
        error: weights e = b - b_hat of the error estimate, or None.
        error_order: power of h that the estimate is proportional to, one more than the order of b_hat; 0 without one.
        dense: row i holds the coefficients of theta, theta^2, ... in b_i(theta), over the stages and then the stages
            of `dense_c`; or None.
        dense_order: order of the dense output at every theta; 0 without one.
        dense_c: nodes of the stages that only the dense output needs.
        dense_a: their weights on all stages before them.

    Raises:
        ValueError: unless the lengths fit, sum_j a_ij = c_i, b, b - error and dense satisfy the conditions of every
            tree up to their orders, the estimate does not vanish at `error_order`, and b_i(1) = b_i.

    Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I: theorem 2.13 of chapter II for
    b and b_hat, theorem 6.1 of chapter II for b(theta).
    """

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    order: int
    error: tuple[float, ...] | None = None
    error_order: int = 0
    dense: tuple[tuple[float, ...], ...] | None = None
    dense_order: int = 0
    dense_c: tuple[float, ...] = ()
    dense_a: tuple[tuple[float, ...], ...] = ()

    @property
    def stages(self) -> int:
        """Number of stages of a step, those of `dense_c` not counted."""
        return len(self.c)

    @property
    def fsal(self) -> bool:
        """Whether the last stage is the slope at (t1, y1), the first of the next step."""
        if self.stages < 2:
            return False
        ends = zip((*self.a[-1], 0.0, 1.0), (*self.b, self.c[-1]), strict=True)
        return all(abs(have - want) <= 1e-14 for have, want in ends)

    def __post_init__(self) -> None:
        self._check_lengths()
        size = self.stages + len(self.dense_c)
        a = np.zeros((size, size))
        for i, row in enumerate(((), *self.a, *self.dense_a)):
            a[i, : len(row)] = row
        c = np.array([*self.c, *self.dense_c])
        check_equal("Butcher", c[:1], np.zeros(1), lambda i: "c[0]")
        check_equal("Butcher", a.sum(axis=1), c, lambda i: f"the row sum of stage {i}, as its node c,")
        phi = elementary_weights(a, max(self.order, self.error_order, self.dense_order))
        check_order("Butcher", np.array(self.b), phi[:, : self.stages], self.order, "b")
        if self.error is not None:
            self._check_error(phi[:, : self.stages])
        if self.dense is not None:
            self._check_dense(np.array(self.dense), phi)

    def _check_lengths(self) -> None:
        rows = [len(row) for row in (*self.a, *self.dense_a)]
        width = len(self.dense[0]) if self.dense else 0
        error_length = self.stages if self.error is None else len(self.error)
        lengths = [
            ("`order > 0`", self.order > 0, True),
            ("the length of b", len(self.b), self.stages),
            ("the number of rows of a", len(self.a), self.stages - 1),
            ("the number of rows of dense_a", len(self.dense_a), len(self.dense_c)),
            ("the lengths of the rows of a and dense_a", rows, list(range(1, len(rows) + 1))),
            ("the length of error", error_length, self.stages),
            ("`error_order > 0`, true with an error only,", self.error_order > 0, self.error is not None),
            ("`dense_order > 0`, true with a dense only,", self.dense_order > 0, self.dense is not None),
        ]
        if self.dense is None:
            lengths.append(("the length of dense_c without dense", len(self.dense_c), 0))
        else:
            size = self.stages + len(self.dense_c)
            lengths.append(("the lengths of the rows of dense", [len(row) for row in self.dense], [width] * size))
            lengths.append(
                ("dense_order, at most the powers in dense,", min(self.dense_order, width), self.dense_order)
            )
        for what, have, want in lengths:
            if have != want:
                raise ValueError(f"Butcher tableau: {what} must be {want}, got {have}.")

    def _check_error(self, phi: np.ndarray) -> None:
        """The embedded weights have order error_order - 1, and no more: a controller divides by that power."""
        error = np.array(self.error)
        check_order("Butcher", np.array(self.b) - error, phi, self.error_order - 1, "b - error")
        sizes = np.array([tree.nodes for tree in rooted_trees(self.error_order)])
        largest = float(np.abs(phi[: len(sizes)][sizes == self.error_order] @ error).max())
        if not largest > 1e3 * TOLERANCE:
            raise ValueError(
                f"Butcher tableau: the error estimate must not vanish at error_order={self.error_order}, got "
                f"{largest:.3g} as its largest sum over the trees of that order, so b_hat is not of a lower order."
            )

    def _check_dense(self, dense: np.ndarray, phi: np.ndarray) -> None:
        trees = rooted_trees(self.dense_order)
        have = phi[: len(trees)] @ dense
        want = np.zeros_like(have)
        for i, tree in enumerate(trees):
            want[i, tree.nodes - 1] = 1 / tree.density
        width = dense.shape[1]

        def name(i: int) -> str:
            tree = trees[i // width]
            return f"the coefficient of theta^{i % width + 1} in dense on the tree {tree.text} of order {tree.nodes}"

        check_equal("Butcher", have.ravel(), want.ravel(), name)
        end = np.zeros(len(dense))
        end[: self.stages] = self.b
        check_equal("Butcher", dense.sum(axis=1), end, lambda i: f"dense at theta = 1, as b, of stage {i}")


def check_order(kind: str, weights: np.ndarray, phi: np.ndarray, order: int, what: str) -> None:
    """Raise unless the weights satisfy the conditions of all trees up to an order.

    Args:
        kind, what: of the coefficients, and name of the weights, for the message.
        weights: one per stage.
        phi: elementary weights, (tree, stage).
        order: up to which.

    Raises:
        ValueError: if they do not.
    """
    trees = rooted_trees(order)
    want = np.array([1 / tree.density for tree in trees])

    def name(i: int) -> str:
        return f"the sum of {what} over the tree {trees[i].text} of order {trees[i].nodes}"

    check_equal(kind, phi[: len(trees)] @ weights, want, name)
