"""Order conditions of additive Runge-Kutta methods, whose stages have one matrix of weights per part of the field:

    Y_i = y0 + h sum_colour sum_j a_ij^colour f^colour(Y_j),    y1 = y0 + h sum_j b_j sum_colour f^colour(Y_j)

Solution and method are series over trees whose nodes have a colour; as all parts share b, that of the root is left out:

    sum_i b_i Phi_i(tree) = 1 / gamma(tree),    Phi_i([u v ...]) = prod_(child u) (sum_j a_ij^colour(u) Phi_j(u))

Source: Kennedy & Carpenter (2003), Appl. Numer. Math. 44, 139-181, section 2.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_LETTERS = "IE"


class ColouredTree(NamedTuple):
    """A tree with what it gives for a method.

    Args:
        nodes: their number, the root counted.
        density: gamma.
        text: the tree in brackets, each branch behind the letter of its colour.
        weights: Phi_i, one per stage.
    """

    nodes: int
    density: int
    text: str
    weights: np.ndarray


def coloured_trees(matrices: Sequence[np.ndarray], order: int) -> list[ColouredTree]:
    """All trees of at most `order` nodes, for the weights `matrices` of the colours; small ones first."""
    trees: list[ColouredTree] = []
    branches: list[tuple[int, int, str, np.ndarray]] = []  # nodes, density, text, moved weights
    for nodes in range(1, order + 1):
        new = []
        for forest in _forests([branch[0] for branch in branches], nodes - 1, 0):
            chosen = [branches[i] for i in forest]
            density = nodes * int(np.prod([branch[1] for branch in chosen], dtype=np.int64))
            text = "[" + "".join(branch[2] for branch in chosen) + "]" if chosen else "."
            weights = np.prod([branch[3] for branch in chosen] or [np.ones(len(matrices[0]))], axis=0)
            new.append(ColouredTree(nodes, density, text, weights))
        trees.extend(new)
        for tree in new:
            for letter, matrix in zip(_LETTERS, matrices, strict=False):
                branches.append((nodes, tree.density, letter + tree.text, matrix @ tree.weights))
    return trees


def _forests(sizes: list[int], nodes: int, first: int) -> Iterator[tuple[int, ...]]:
    """Sets of branches with `nodes` nodes in all, as positions from `first` on that never fall."""
    if nodes == 0:
        yield ()
    for i in range(first, len(sizes)):
        if sizes[i] > nodes:
            return
        for rest in _forests(sizes, nodes - sizes[i], i):
            yield (i, *rest)
