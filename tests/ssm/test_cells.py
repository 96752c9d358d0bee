"""Every cell of the table: equal executions, stated orders, refusals with their reasons."""

import itertools

import pytest
import torch

from sciml.ssm import (
    ZOH,
    Approximate,
    Bilinear,
    Cell,
    Chunked,
    Companion,
    Convolution,
    Dense,
    Recurrent,
    Refused,
    RefusedError,
    Scan,
    Supported,
    cells,
    lssl,
    s4d,
)
from sciml.ssm.cells import EXECUTIONS, MATRICES, RULES, default_execution
from sciml.ssm.discretise import AbstractDiscretisation
from sciml.ssm.executions import PIECE, AbstractExecution
from sciml.ssm.matrices import AbstractMatrix, Diagonal
from sciml.ssm.running import Running
from sciml.ssm.steps import Steps
from tests.helpers import final_subclasses, order_table
from tests.ssm.systems import Case, make_case, written_out

DTYPES = {torch.float64: 1e-12, torch.float32: 3e-5}
GROUPS = list(itertools.product(MATRICES, RULES, (False, True), (False, True)))


def name(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)


def outcome(case: Case, execution: AbstractExecution) -> list[torch.Tensor]:
    """Outputs, last state and the gradients of a weighted sum of both."""
    result = execution.run(case.running, case.u, case.x0, True)
    assert result.state is not None
    return [result.y, result.state, *gradients(case, result.y, result.state)]


def gradients(case: Case, y: torch.Tensor, state: torch.Tensor) -> list[torch.Tensor]:
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    total = (weight * y).sum() + (state * torch.linspace(-1, 1, state.numel()).view(state.shape)).sum().real
    found = torch.autograd.grad(total, case.leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(case.leaves, found, strict=True)]


def test_the_table_holds_every_structure_rule_and_execution() -> None:
    assert set(MATRICES) == final_subclasses(AbstractMatrix)
    assert {type(rule) for rule in RULES} == final_subclasses(AbstractDiscretisation)
    kinds = {type(e) for e in EXECUTIONS}
    assert kinds == final_subclasses(AbstractExecution)
    assert len(cells()) == len(MATRICES) * len(RULES) * 2 * len(EXECUTIONS) * 2


@pytest.mark.parametrize(("matrix", "rule", "changing", "selective"), GROUPS, ids=name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_executions_agree_in_values_and_gradients(matrix, rule, changing, selective, dtype) -> None:
    """And with textbook formulas on dense matrices, which is the definition."""
    tolerance = DTYPES[dtype]
    for real in (False, True) if matrix is Diagonal else (False,):
        exact = make_case(matrix, rule, changing=changing, selective=selective, real=real)
        y, state = written_out(exact)
        want = [y, state, *gradients(exact, y, state)]
        for execution in EXECUTIONS:
            if isinstance(Cell(matrix, rule, changing, execution, selective).status, Refused):
                continue
            case = make_case(matrix, rule, changing=changing, selective=selective, dtype=dtype, real=real)
            for have, wanted in zip(outcome(case, execution), want, strict=True):
                assert have.dtype == (dtype.to_complex() if wanted.is_complex() else dtype)
                assert (have - wanted).abs().max() <= tolerance * (1 + wanted.abs().max()), execution


def test_refused_cells_give_their_reason_and_others_pass() -> None:
    for cell in cells():
        if isinstance(cell.status, Refused):
            with pytest.raises(RefusedError, match="does not run as .*: ") as caught:
                cell.check()
            assert str(caught.value).endswith(cell.status.reason)
            assert "Take " in cell.status.reason
        else:
            cell.check()


def test_each_refusal_has_the_right_reason() -> None:
    reasons = {
        ("DiagonalPlusLowRank", "ZOH", False, False, "Recurrent"): "is full",
        ("DiagonalPlusLowRank", "Bilinear", False, False, "Scan"): "a rank that grows",
        ("DiagonalPlusLowRank", "GeneralizedBilinear", False, False, "Convolution"): "rounding errors grow",
        ("Diagonal", "ZOH", True, False, "Convolution"): "one kernel for all intervals",
        ("Diagonal", "ZOH", False, True, "Convolution"): "one kernel for all times",
        ("Diagonal", "Discrete", False, False, "Scan"): "not as a map",
        ("Companion", "Discrete", False, True, "Scan"): "cannot be chosen",
    }
    for cell in cells():
        key = (
            cell.matrix.__name__,
            type(cell.rule).__name__,
            cell.changing,
            cell.selective,
            type(cell.execution).__name__,
        )
        if key in reasons:
            with pytest.raises(RefusedError, match=reasons.pop(key)):
                cell.check()
    assert not reasons


def test_how_many_cells_there_are_of_each_kind() -> None:
    kinds = [type(cell.status) for cell in cells()]
    counts = {kind.__name__: kinds.count(kind) for kind in (Supported, Approximate, Refused)}
    assert counts == {"Supported": 74, "Approximate": 308, "Refused": 290}


def test_default_executions_are_never_refused() -> None:
    for matrix, rule, changing, selective in GROUPS:
        any_runs = not isinstance(Cell(matrix, rule, changing, Recurrent(), selective).status, Refused)
        if any_runs:
            Cell(matrix, rule, changing, default_execution(matrix, rule, changing, selective), selective).check()


@pytest.mark.parametrize("matrix", [Dense, Companion])
def test_dense_steps_are_joined_where_that_is_little_work(matrix) -> None:
    """2 samples of 8 systems: of 8 states by a scan, of 32 one after the other."""
    small, large = (default_execution(matrix, Bilinear(), True, False, joined=16 * n**3) for n in (8, 32))
    assert isinstance(small, Scan) and isinstance(large, Recurrent)
    assert isinstance(default_execution(matrix, Bilinear(), False, False, joined=16 * 32**3), Convolution)
    assert isinstance(default_execution(Diagonal, ZOH(), True, False, joined=16 * 32**3), Scan)


@pytest.mark.parametrize(("matrix", "rule"), list(itertools.product(MATRICES, RULES)), ids=name)
def test_order_is_as_stated(matrix, rule) -> None:
    """For an input held over a time that is cut into more and more intervals, against ZOH of the dense matrix."""
    status = Cell(matrix, rule, False, Recurrent(), False).status
    if isinstance(status, Refused) or rule.order is None and name(rule).startswith("Discrete"):
        return
    case = make_case(matrix, rule, changing=False, selective=False, time=1)
    exact = written_out(
        Case(Running(case.running.matrix, ZOH(), case.running.steps, case.running.ports), case.u, case.x0, [])
    )

    def error(n: int) -> float:
        steps = Steps(case.running.steps.interval / n, case.running.steps.scale)
        running = Running(case.running.matrix, rule, steps, case.running.ports)
        with torch.no_grad():
            last = Recurrent().run(running, case.u.expand(-1, n, -1, -1), case.x0, True).state
            assert last is not None
            return float((last - exact[1]).abs().max())

    if isinstance(status, Supported):
        assert error(1) < 1e-14 and error(64) < 1e-13
    else:
        assert isinstance(status, Approximate)
        steps = (1, 2, 4, 8, 16, 32, 64)
        if status.order == 1:
            steps = (*steps, 128, 256, 512, 1024, 2048)
        observed = order_table(f"{name(matrix)} {rule}", error, steps)
        assert observed == pytest.approx(status.order, abs=0.2)


def test_several_inputs_and_outputs_agree_too() -> None:
    for matrix, rule in itertools.product(MATRICES, RULES):
        for execution in EXECUTIONS:
            if not isinstance(Cell(matrix, rule, False, execution, False).status, Refused):
                case = make_case(matrix, rule, changing=False, selective=False, inputs=3, systems=1)
                y, state = written_out(case)
                for have, want in zip(outcome(case, execution), [y, state, *gradients(case, y, state)], strict=True):
                    assert (have - want).abs().max() <= 1e-12 * (1 + want.abs().max()), (matrix, rule, execution)


def test_one_dense_exponential_per_distinct_interval() -> None:
    case = make_case(Dense, ZOH(), changing=True, selective=False, time=40)
    interval = torch.randint(0, 4, (2, 40)) / 4
    running = Running(case.running.matrix, ZOH(), Steps(interval, case.running.steps.scale), case.running.ports)
    assert len(running.transition.factor) == len(interval.unique())  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", [lambda: s4d(3, 8), lambda: lssl(3, 4)], ids=["s4d", "lssl"])
def test_a_loop_without_gradients_forms_few_states_at_once(make, monkeypatch) -> None:
    """And gives what the loop that keeps them gives."""
    layer, u, dt, seen = make(), torch.randn(2, 200, 3), torch.rand(2, 200), []
    force = type(layer.running(dt, u).transition).force
    monkeypatch.setattr(
        type(layer.running(dt, u).transition), "force", lambda self, b, u: seen.append(u.shape[1]) or force(self, b, u)
    )
    for intervals in (None, dt):
        want, end = layer.prefill(u, intervals, None, Recurrent())
        with torch.no_grad():
            seen.clear()
            y, state = layer.prefill(u, intervals, None, Recurrent())
        assert max(seen) == PIECE and sum(seen) == 200
        torch.testing.assert_close(y, want, rtol=0, atol=1e-12)
        torch.testing.assert_close(state, end, rtol=0, atol=1e-12)


def test_chunks_of_any_size_agree() -> None:
    case = make_case(Diagonal, ZOH(), changing=True, selective=True, time=11)
    whole = outcome(case, Scan())
    for size in (1, 2, 10, 11, 50):
        for have, want in zip(outcome(case, Chunked(Scan(), size)), whole, strict=True):
            assert torch.allclose(have, want, rtol=0, atol=1e-12)


def test_a_chunk_needs_a_size() -> None:
    with pytest.raises(ValueError, match="`size` must be a whole number of at least 1, got 0"):
        Chunked(Scan(), 0)
