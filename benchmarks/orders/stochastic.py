"""Strong and weak orders of every stochastic method, for every structure of the noise and sense that it serves.

    python benchmarks/orders/stochastic.py [--out FOLDER] [--samples N]

Writes `stochastic.md` and, with all errors, `stochastic.json`. What is measured, and how, stands in
`tests/stochastic_orders.py`.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # tests/ is no part of the installed package
torch.set_default_dtype(torch.float64)  # before the tests make their constants
from tests import stochastic_orders as orders  # noqa: E402


def rows(samples: int) -> list[dict[str, Any]]:
    """One per method, structure and sense."""
    found: list[dict[str, Any]] = []
    for case in orders.CASES:
        row: dict[str, Any] = {"method": repr(case.method), "structure": case.structure, "sense": case.sense}
        row["strong"] = orders.strong_order(case, samples)
        if case.structure == "diagonal":
            row["strong, exact solution"] = orders.exact_strong_order(case.method, case.sense, 2 * samples)
        row["weak"] = min(orders.weak_orders(case), key=lambda each: each.slope)
        found.append(row)
        print(line(row), flush=True)
    for method in orders.LANGEVIN:
        row = {"method": repr(method), "structure": "langevin", "sense": ""}
        row |= {"strong": orders.langevin_strong_order(method), "weak": orders.langevin_weak_order(method)}
        found.append(row)
        print(line(row), flush=True)
    return found


HEAD = """| method | noise | sense | strong | measured | exact solution | weak | measured | all hold |
|---|---|---|---|---|---|---|---|---|"""


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    strong, exact, weak = row["strong"], row.get("strong, exact solution"), row["weak"]
    sampled = [f"{each.slope:.2f} ± {each.width:.2f}" if each else "" for each in (strong, exact)]
    holds = all(each.holds for each in (strong, exact, weak) if each)
    cells = [row["method"], row["structure"], row["sense"], f"{strong.claim:g}", *sampled, f"{weak.claim:g}"]
    return "| " + " | ".join([*cells, f"{weak.slope:.2f}", "yes" if holds else "NO"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--samples", type=int, default=2000, help="paths of the strong orders; a multiple of 20")
    arguments = parser.parse_args()
    start = time.perf_counter()
    print(HEAD)
    found = rows(arguments.samples)
    print(f"\n{len(found)} rows in {time.perf_counter() - start:.0f} s")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "stochastic.md").write_text("\n".join([HEAD, *map(line, found)]) + "\n")
    plain = [{k: v if isinstance(v, str) else asdict(v) for k, v in row.items()} for row in found]
    settings = {"samples": arguments.samples, "torch": torch.__version__}
    (arguments.out / "stochastic.json").write_text(json.dumps({"settings": settings, "rows": plain}, indent=1) + "\n")


if __name__ == "__main__":
    main()
