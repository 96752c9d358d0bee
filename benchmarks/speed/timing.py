"""Side-by-side timing: contenders run in turn within each round, so that a busy machine slows all of them alike."""

import importlib
import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Call = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One contender: its median and least time, and both relative to the first contender of the same comparison."""

    comparison: str
    contender: str
    milliseconds: float
    ratio: float
    """Median over the rounds of (time of this contender) / (time of the first one in the same round)."""
    best_milliseconds: float
    best_ratio: float
    """Ratio of the least times: what remains when other work on the machine disturbs the medians."""


def peer(name: str) -> Any:
    """A peer's module, or None, visibly."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not there and left out.")
        return None


def quiet(call: Call) -> Call:
    """The call without recording for gradients."""

    def without() -> Any:
        with torch.no_grad():
            return call()

    return without


def gradient(call: Call, inputs: Sequence[Tensor]) -> Call:
    """The call and the gradient of the sum of squares of what it gives."""

    def both() -> tuple[Tensor, ...]:
        return torch.autograd.grad(call().square().sum(), inputs)

    return both


def check(name: str, values: Tensor, reference: Tensor, tolerance: float) -> None:
    """Raise unless two answers agree: a wrong answer is not timed."""
    error = float((values - reference).norm() / reference.norm())
    if not error < tolerance:
        raise SystemExit(f"{name} differs from the reference by {error:.1e}; nothing was timed.")


def compare(comparison: str, contenders: Mapping[str, Callable[[], object]], rounds: int) -> list[Row]:
    """Time the contenders in turn, `rounds` times after two calls to warm up."""
    for call in contenders.values():
        call()
        call()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    reference = next(iter(times.values()))
    return [
        Row(
            comparison,
            name,
            statistics.median(taken),
            statistics.median(a / b for a, b in zip(taken, reference, strict=True)),
            min(taken),
            min(taken) / min(reference),
        )
        for name, taken in times.items()
    ]


def markdown(rows: list[Row], *, header: bool) -> str:
    """The rows as (a further part of) a Markdown table."""
    head = ["| comparison | contender | median ms | relative | least ms | relative |", "|---|---|---|---|---|---|"]
    lines = head if header else []
    for r in rows:
        numbers = (r.milliseconds, r.ratio, r.best_milliseconds, r.best_ratio)
        lines.append(f"| {r.comparison} | {r.contender} | " + " | ".join(f"{x:.2f}" for x in numbers) + " |")
    return "\n".join(lines)


def write(path: Path, rows: list[Row], *, seed: int, rounds: int, peers: tuple[str, ...]) -> None:
    """Record the rows with what they were measured on."""
    record = {
        "versions": {name: importlib.metadata.version(name) for name in ("sciml-torch", "torch", *peers)},
        "device": f"cpu, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "seed": seed,
        "rounds": rounds,
        "rows": [asdict(row) for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
