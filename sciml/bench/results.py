"""Results as one long table, made of row groups that are written whole or not at all.

A row group is one competitor with one seed. Its identity is the digest of everything its numbers follow from; a
group that is there under that name is never computed again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

import sciml
from sciml.core.atomic import prepare_folder, publish, replacing, sync

TRAINING_CODE = ("core", "grids", "nn", "surrogates", "data", "training", "bench/registry.py", "bench/checkpoint.py")
"""Sources that trained weights follow from."""
_SCORING_CODE = (
    *TRAINING_CODE,
    "integrate",
    "metrics",
    "pde",
    "bench/competitors.py",
    "bench/runner.py",
    "bench/scenario.py",
    "bench/scoring.py",
)
VOLATILE = ("train_seconds", "rollout_seconds", "memory_mb", "date")
"""Columns that differ between two runs of the same thing: time, memory and date."""


@final
@dataclass(frozen=True)
class Row:
    """One number.

    Args:
        metric: what it measures.
        statistic: over the test trajectories (`mean`, `median`, `q10`, `q90`), or `value` for a single one.
        value: the number.
        unit: its unit.
        trajectory: test trajectory, or -1 for a statistic over all.
        lead_time: time since the given frame, [time], or NaN.
        wavenumber: centre of a shell of a spectrum, [1/length], or NaN.
    """

    metric: str
    statistic: str
    value: float
    unit: str = "1"
    trajectory: int = -1
    lead_time: float = float("nan")
    wavenumber: float = float("nan")


@cache
def code_digest(places: tuple[str, ...] = _SCORING_CODE) -> str:
    """SHA-256 of sources, by default all that numbers follow from, and of the version of torch."""
    import torch

    root = Path(sciml.__file__).parent
    sources = {path for place in places for path in [root / place, *(root / place).rglob("*.py")] if path.is_file()}
    total = hashlib.sha256(torch.__version__.encode())
    for path in sorted(sources):
        total.update(str(path.relative_to(root)).encode())
        total.update(path.read_bytes())
    return total.hexdigest()


@final
class ResultStore:
    """Row groups in a folder.

    Args:
        folder: of the run; groups go to `groups/`.

    Raises:
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._groups = self.folder / "groups"
        prepare_folder(self._groups)

    def path(self, name: str) -> Path:
        """Folder of a group."""
        return self._groups / name

    def has(self, name: str) -> bool:
        """Whether the group is complete."""
        return self.path(name).is_dir()

    def write(
        self, name: str, rows: Iterable[Row], common: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Write a group: to a temporary folder, fsynced, renamed."""
        temporary = self._groups / f".{name}.partial"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        frame = pd.DataFrame([asdict(row) for row in rows])
        frame.to_csv(temporary / "rows.csv", index=False)
        (temporary / "common.json").write_text(json.dumps(common, indent=1))
        np.savez_compressed(temporary / "arrays.npz", **arrays)  # type: ignore[arg-type]
        for path in temporary.iterdir():
            sync(path)
        publish(temporary, self.path(name))

    def table(self, names: Iterable[str]) -> pd.DataFrame:
        """The long table of these groups, in this order: identity, row, provenance."""
        frames = []
        for name in names:
            rows = pd.read_csv(self.path(name) / "rows.csv")
            common = json.loads((self.path(name) / "common.json").read_text())
            identity = {key: common[key] for key in ("scenario", "size", "model", "kind", "seed")}
            rest = {key: value for key, value in common.items() if key not in identity}
            for position, (key, value) in enumerate(identity.items()):
                rows.insert(position, key, value)
            frames.append(rows.assign(**rest))
        return pd.concat(frames, ignore_index=True)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Sample rollouts of a group."""
        with np.load(self.path(name) / "arrays.npz") as content:
            return {key: content[key] for key in content.files}

    def write_table(self, table: pd.DataFrame) -> Path:
        """`table.csv`, replaced whole."""
        path = self.folder / "table.csv"
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False)
        return path


def same_table(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables agree in everything but time, memory and date."""

    def stable(table: pd.DataFrame) -> pd.DataFrame:
        return table.drop(columns=[name for name in VOLATILE if name in table])

    return stable(a).equals(stable(b))
