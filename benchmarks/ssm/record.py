"""Results on disk, with where they come from, and the tables of the README that are made of them.

python benchmarks/ssm/record.py        # writes the tables of README.md anew from results/*.json
"""

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

import sciml
from sciml.bench.provenance import provenance
from sciml.bench.results import code_digest

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE / "README.md"


@final
@dataclass(frozen=True)
class Findings:
    """What a task has to say.

    Args:
        rows: one per contender and seed, with the figures.
        settings: sizes and budgets, whatever a repetition would have to know.
        figures: names of the figures in a row that the table shows, and how each is written.
    """

    rows: list[dict[str, Any]]
    settings: dict[str, Any]
    figures: dict[str, str]


@final
class Journal:
    """What was computed before by the same sources, so that a run that was killed continues where it was.

    Args:
        path: one JSON line for each result; nothing is kept if None.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._code = path, sources()
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        read = [json.loads(line) for line in lines]
        self._known = {entry["key"]: entry["value"] for entry in read if entry["code"] == self._code}

    def __call__(self, key: str, compute: Callable[[], Any]) -> Any:
        """The result of that name, from the journal or computed now."""
        if key not in self._known:
            self._known[key] = compute()
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a") as file:
                    file.write(json.dumps({"code": self._code, "key": key, "value": self._known[key]}) + "\n")
        return self._known[key]


def sources() -> str:
    """SHA-256 of this folder and of what numbers follow from in the library."""
    total = hashlib.sha256(code_digest(("core", "integrate", "ssm", "training")).encode())
    for path in sorted(HERE.glob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def main(name: str, description: str | None, run: Callable[[bool, Journal], Findings]) -> None:
    """The command line of a task: run, write `results/NAME.json`, print the table."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="seconds instead of minutes, to see that it runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help=f"default: results/{name}.json, nothing with --smoke")
    parser.add_argument("--journal", type=Path, default=Path("runs/ssm"), help="folder of results on the way")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    wall = time.perf_counter()
    found = run(options.smoke, Journal(None if options.smoke else options.journal / f"{name}.jsonl"))
    record = {
        "task": name,
        "version": sciml.__version__,
        **provenance(torch.device("cpu"), ("scikit-learn",)),
        "seeds": sorted({row["seed"] for row in found.rows}),
        "wall_seconds": round(time.perf_counter() - wall, 1),
        "processor_seconds": round(processor_seconds(found.rows), 1),
        "settings": found.settings,
        "figures": found.figures,
        "rows": found.rows,
    }
    print(table(record))
    out = options.out or (None if options.smoke else RESULTS / f"{name}.json")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n")


def processor_seconds(rows: list[dict[str, Any]]) -> float:
    """Of all trainings, those that chose rates included, whichever run made them."""
    tuning = {(row["contender"], rate): tried[1] for row in rows for rate, tried in row.get("tuning", {}).items()}
    return sum(row.get("seconds", 0.0) for row in rows) + sum(tuning.values())


def table(record: dict[str, Any]) -> str:
    """Markdown: mean and standard deviation over seeds, parameters, learning rate, time of a training."""
    figures = record["figures"]
    lines = [
        "| contender | " + " | ".join(figures) + " | parameters | rate | s per training |",
        "|---" * (len(figures) + 4) + "|",
    ]
    for name in dict.fromkeys(row["contender"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["contender"] == name]
        cells = [spread([row[figure] for row in rows], form) for figure, form in figures.items()]
        cells += [f"{rows[0]['parameters']:,}" if "parameters" in rows[0] else ""]
        cells += [f"{rows[0]['rate']:g}" if "rate" in rows[0] else ""]
        cells += [f"{statistics.fmean(row['seconds'] for row in rows):.0f}" if "seconds" in rows[0] else ""]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    seeds = len(record["seeds"])
    minutes = f"{record['processor_seconds'] / 60:.0f} minutes of the processor in all"
    made = f"{record['device']}, {record['date'][:10]}, sciml {record['version']}, {record['commit']}"
    lines += ["", f"{seeds} seeds, mean ± standard deviation; {minutes}; {made}."]
    return "\n".join(lines)


def spread(values: list[float | None], form: str) -> str:
    """Mean ± standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    if len(known) == 1:
        return format(known[0], form)
    return f"{statistics.fmean(known):{form}} ± {statistics.stdev(known):{form}}"


def marks(name: str) -> tuple[str, str]:
    """Between these lines of the README stands the table of a task."""
    return f"<!-- table of {name} -->\n", f"<!-- end of {name} -->"


def with_tables(text: str) -> str:
    """The README with the tables of all recorded results."""
    for path in sorted(RESULTS.glob("*.json")):
        start, end = marks(path.stem)
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{README} must hold {start.strip()!r} and {end!r} for {path.name}; add both lines.")
        text = before + start + table(json.loads(path.read_text())) + "\n" + end + after
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
