"""The one core: structure, rule and execution as separate choices.

    x' = A x + B u,    y = C x + D u

discretised over intervals d_k times a learned step. What layers differ in is how they start and what they store.
"""

from collections.abc import Iterator
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core.checks import check_shape, check_whole
from sciml.ssm.cells import Cell, default_execution
from sciml.ssm.checks import check_entry, check_number, check_series, check_state
from sciml.ssm.discretise import AbstractDiscretisation, Discrete
from sciml.ssm.executions import AbstractExecution, Kernel, Recurrent
from sciml.ssm.intervals import Interval, as_intervals, known, of_one_entry
from sciml.ssm.layer import AbstractLayer
from sciml.ssm.matrices import AbstractMatrix, Diagonal
from sciml.ssm.normalise import AbstractNormalisation
from sciml.ssm.own_dtype import in_own_dtype
from sciml.ssm.pairs import restored, stored
from sciml.ssm.ports import Ports
from sciml.ssm.running import Running
from sciml.ssm.steps import Steps

MOST_PREPARED = 64
"""Intervals for which a layer keeps its discretised system within `streaming`."""


@final
class StateSpace(AbstractLayer):
    """A linear state-space layer.

    Channels are systems times inputs per system: a bank of one system per channel, B (channels, state, 1), or one
    system of all channels, B (1, state, channels).

    Args:
        matrix: A, of as many systems as B, or one that all share.
        b: B to start from, (systems, state, in), complex where A is stored in conjugate pairs.
        c: C to start from, (systems, out, state), likewise. Outputs are ordered by system, then by row of C.
        discretisation: the rule for one interval.
        step: learned steps to start from, (systems or 1, state or 1), [1]; they multiply the intervals. None is 1.
        skip: D to start from, one number per output: of the one input of its system, or of its own channel. None has
            none.
        normalisation: factors on B and C that depend on A.
        learn_b: whether B is a parameter; where C is, a diagonal system needs but one of them.

    Raises:
        ValueError: if shapes disagree, or a step is not positive.
        TypeError: if B and C are not of the kind of A.

    Source: Gu et al. (2021), arXiv 2110.13985, eq. (1)-(3).
    """

    def __init__(
        self,
        matrix: AbstractMatrix,
        b: Tensor,
        c: Tensor,
        discretisation: AbstractDiscretisation,
        *,
        step: Tensor | None = None,
        skip: Tensor | None = None,
        normalisation: AbstractNormalisation | None = None,
        learn_b: bool = True,
    ) -> None:
        super().__init__()
        _check_ports(matrix, b, c)
        self.systems, self.inputs, self.outputs = b.shape[0], b.shape[2], c.shape[1]
        self.channels = self.systems * self.inputs
        self.matrix, self.discretisation, self.normalisation = matrix, discretisation, normalisation
        self.b, self.c = stored(b), stored(c)
        self.b.requires_grad_(learn_b)
        self.prepared: dict[tuple[float, torch.dtype, torch.device], Running] | None = None  # see `streaming`
        self.log_step = None if step is None else nn.Parameter(_logarithm(step, matrix, discretisation))
        self.skip = None if skip is None else nn.Parameter(skip.clone())
        if skip is not None:
            check_shape("skip", skip, (self.systems * self.outputs,), "one number per output")
            if self.inputs not in (1, self.outputs):
                raise ValueError(
                    f"`skip` must be None where systems have {self.inputs} inputs and {self.outputs} outputs. Add the "
                    "input behind the mixing of outputs instead."
                )

    @property
    def dtype(self) -> torch.dtype:
        """Of series and intervals."""
        return self.b.dtype

    @property
    def outgoing(self) -> int:
        """Channels of its outputs."""
        return self.systems * self.outputs

    def forward(
        self,
        u: Float[Tensor, "batch time channel"],
        dt: Interval = None,
        state: Tensor | None = None,
        execution: AbstractExecution | None = None,
    ) -> Float[Tensor, "batch time output"]:
        """Outputs of a series.

        Args:
            u: inputs.
            dt: time since the entry before, (batch, time) or one number for all; 1 by default, [time].
            state: where to start, from `prefill`, `step` or `initial_state`; zero by default.
            execution: how; the fastest that the table has by default.

        Raises:
            RefusedError: if the table has no such cell.
            ValueError: if shapes disagree, an interval is negative, or a given kernel is too short or of
                another interval.
            TypeError: if dtypes disagree.
        """
        return self._run(u, dt, state, execution, want_state=False)[0]

    def prefill(
        self,
        u: Float[Tensor, "batch time channel"],
        dt: Interval = None,
        state: Tensor | None = None,
        execution: AbstractExecution | None = None,
    ) -> tuple[Float[Tensor, "batch time output"], Tensor]:
        """Outputs of a series and the state behind it, (batch, systems, state). Arguments as in `forward`."""
        y, last = self._run(u, dt, state, execution, want_state=True)
        assert last is not None
        return y, last

    @in_own_dtype
    def step(
        self, u: Float[Tensor, "batch channel"], state: Tensor, dt: Interval = None
    ) -> tuple[Float[Tensor, "batch output"], Tensor]:
        """Output and state of one more entry, as the same series would have given.

        Args:
            u: the entry.
            state: behind the one before.
            dt: time since then, (batch,) or one number; 1 by default, [time].
        """
        check_entry(u, self.channels, self.dtype)
        y, last = self._run(u.unsqueeze(1), of_one_entry(dt, u), state, Recurrent(), want_state=True)
        assert last is not None
        return y.squeeze(1), last

    def initial_state(self, batch: int) -> Tensor:
        """Zero, (batch, systems, state)."""
        return torch.zeros(batch, self.systems, self.matrix.state, dtype=self._state_dtype, device=self.b.device)

    def slow_parameters(self) -> Iterator[nn.Parameter]:
        """A, B, steps and normalisation: all but C and D."""
        yield from self.matrix.parameters()
        yield self.b
        if self.log_step is not None:
            yield self.log_step
        if self.normalisation is not None:
            yield from self.normalisation.parameters()

    def kernel(self, length: int, dt: float = 1.0) -> Kernel:
        """The convolution kernel at equal intervals dt, for `Convolution(kernel)`.

        It is that of the parameters as they are now, and knows nothing of later ones.

        Raises:
            ValueError: if the length is not a whole number of at least 1, or dt is negative or above 1e15.
        """
        check_whole("length", length, 1)
        check_number("dt", dt)
        return Kernel(self.running(float(dt), self.b.new_empty(1, 1)).kernel(length), float(dt))

    def running(self, dt: Interval, u: Tensor) -> Running:
        """The system with its parameters as they are, for intervals of entries u (batch, time, ...).

        Within `streaming` it is made once for each number dt.
        """
        number = known(dt)
        kept = None if self.prepared is None or number is None else self.prepared.get((number, u.dtype, u.device))
        if kept is not None:
            return kept
        steps = Steps(as_intervals(dt, u), self.scale()[None, None], number)
        running = Running(self.matrix, self.discretisation, steps, Ports(*self.ports()))
        if self.prepared is not None and number is not None and len(self.prepared) < MOST_PREPARED:
            self.prepared[number, u.dtype, u.device] = running
        return running

    def scale(self) -> Tensor:
        """Learned steps, (systems or 1, state or 1), [1]."""
        return (
            torch.ones(1, 1, dtype=self.dtype, device=self.b.device) if self.log_step is None else self.log_step.exp()
        )

    def ports(self) -> tuple[Tensor, Tensor]:
        """B, (systems, state, in), and C, (systems, out, state), with their factors."""
        b, c = (restored(value, self.matrix.is_complex) for value in (self.b, self.c))
        if self.normalisation is not None:
            assert isinstance(self.matrix, Diagonal)
            of_b, of_c = self.normalisation(self.scale() * self.matrix.values())
            b, c = of_b.unsqueeze(-1) * b, of_c.unsqueeze(-2) * c
        return b, c

    @property
    def _state_dtype(self) -> torch.dtype:
        return torch.promote_types(self.dtype, torch.complex64) if self.matrix.is_complex else self.dtype

    @in_own_dtype
    def _run(
        self, u: Tensor, dt: Interval, state: Tensor | None, execution: AbstractExecution | None, *, want_state: bool
    ) -> tuple[Tensor, Tensor | None]:
        check_series(u, self.channels, self.dtype)
        if state is not None:
            check_state(state, (len(u), self.systems, self.matrix.state), self._state_dtype)
        system = self.running(dt, u)
        kind = type(self.matrix)
        if execution is None:
            joined = len(u) * self.systems * self.matrix.state**3 if u.device.type == "cpu" else 0
            execution = default_execution(kind, self.discretisation, system.changing, False, self.inputs, joined)
        Cell(kind, self.discretisation, system.changing, execution, selective=False).check()
        inputs = u.unflatten(-1, (self.systems, self.inputs))
        outcome = execution.run(system, inputs, state, want_state)
        y = outcome.y if self.skip is None else outcome.y + self.skip.view(self.systems, -1) * inputs
        return y.flatten(2), outcome.state


def _check_ports(matrix: AbstractMatrix, b: Tensor, c: Tensor) -> None:
    check_shape("b", b, (None, matrix.state, None), "systems, states of the matrix and inputs")
    check_shape("c", c, (len(b), None, matrix.state), "systems of b, outputs and states of the matrix")
    if matrix.systems not in (1, len(b)):
        raise ValueError(
            f"`b` must have as many systems as the matrix, {matrix.systems}, got {len(b)}. Give the matrix one system "
            "for all, or as many."
        )
    if b.is_complex() != matrix.is_complex or c.is_complex() != matrix.is_complex:
        kind = "complex, for A is stored in conjugate pairs" if matrix.is_complex else "real, as A is"
        raise TypeError(f"`b` and `c` must be {kind}; got {b.dtype} and {c.dtype}. Convert them.")


def _logarithm(step: Tensor, matrix: AbstractMatrix, rule: AbstractDiscretisation) -> Tensor:
    check_shape("step", step, (None, None), "systems or 1, and states or 1")
    if isinstance(rule, Discrete) or (step.shape[1] != 1 and not isinstance(matrix, Diagonal)):
        raise ValueError(
            f"`step` must be None for maps and (systems or 1, 1) for {type(matrix).__name__}, got {tuple(step.shape)}. "
            "Steps per state are for Diagonal."
        )
    if not bool((step > 0).all()):
        raise ValueError(
            f"`step` must be positive, got a smallest of {step.min().item():g}. Give factors of intervals."
        )
    return step.log()
