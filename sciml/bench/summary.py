# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false, reportReturnType=false, reportIndexIssue=false
# pandas is untyped: what its methods return cannot be known to a static checker.
"""From the long table to what the report shows: medians over seeds, spreads, a leaderboard, a sentence."""

from collections.abc import Mapping
from itertools import groupby

import numpy as np
import pandas as pd

from sciml.bench.report_columns import Better, Column
from sciml.bench.report_data import CostPoint, Curve, Kind, Labels, ReportData, Rollout, Table
from sciml.bench.scenario import Scenario

_KINDS = {"truth": Kind.TRUTH, "learned": Kind.LEARNED, "solver": Kind.SOLVER, "trivial": Kind.TRIVIAL}


def report_data(scenario: Scenario, table: pd.DataFrame, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> ReportData:
    """Everything the report of a run shows.

    Args:
        scenario: what was run.
        table: its long table.
        arrays: sample rollouts of each row group, in the order of the groups in the table.
    """
    board = leaderboard(scenario, table)
    return ReportData(
        title=f"{scenario.title}: {scenario.size}",
        summary=_summary(scenario, board),
        provenance=_provenance(scenario, table),
        leaderboard=_shown(board),
        error_growth=_curves(table, "nrmse", "median", ("q10", "q90")),
        correlation=_curves(table, "correlation", "mean", ("q10", "q90")),
        threshold=scenario.threshold,
        spectra=_spectra(table),
        costs=_costs(board, scenario),
        rollouts=_rollouts(scenario, table, arrays),
        tables=(_convergence(scenario, table), _per_seed(scenario, table)),
        notes=_notes(scenario),
        columns=_columns(scenario),
        labels=Labels(
            time=f"lead time [{scenario.time_unit}]",
            value=f"high-correlation time [{scenario.time_unit}]",
            cost="computing time of a rollout, per trajectory [s]",
            field=scenario.built_equation.fields.names[0],
        ),
        extent=scenario.extent,
    )


def leaderboard(scenario: Scenario, table: pd.DataFrame) -> pd.DataFrame:
    """One row per competitor, best high-correlation time first: median over seeds, and smallest and largest."""
    rows = []
    for (model, kind), part in _competitors(table).groupby(["model", "kind"], sort=False):
        times = _per_group(part, "high_correlation_time", "mean")
        beyond = _per_group(part, "high_correlation_time_beyond_horizon", "mean")
        groups = part.drop_duplicates("seed")
        trajectories = scenario.test_data.trajectories
        row = {
            "model": model,
            "kind": kind,
            "seeds": len(times),
            "time": float(np.median(times)),
            "time_low": min(times),
            "time_high": max(times),
            "beyond": bool(np.median(beyond) == 1.0),
            "one_step": float(np.median(_per_group(part, "one_step_nrmse", "mean"))),
            "spectral_distance": float(np.median(_per_group(part, "log_spectral_distance", "mean"))),
            "energy_inside": float(np.median(_per_group(part, "energy_ratio_within_factor_2", "mean"))),
            "blown_up": float(np.median(_per_group(part, "blown_up_fraction", "mean"))),
            "train_seconds": float(groups["train_seconds"].median()),
            "rollout_seconds": float(groups["rollout_seconds"].median()) / trajectories,
        }
        enstrophy = _per_group(part, "enstrophy_ratio_within_factor_2", "mean")
        if enstrophy:
            row["enstrophy_inside"] = float(np.median(enstrophy))
        rows.append(row)
    board = pd.DataFrame(rows)
    return board.sort_values(["time", "one_step"], ascending=[False, True], ignore_index=True)


def _shown(board: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard as printed: inf where the horizon was outlasted, nothing where nothing was trained."""
    return board.assign(
        time=board["time"].where(~board["beyond"], np.inf),
        train_seconds=board["train_seconds"].where(board["kind"] == "learned"),
    ).drop(columns=["beyond"])


def _competitors(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["kind"].isin(["learned", "solver", "trivial"])]


def _per_group(part: pd.DataFrame, metric: str, statistic: str) -> list[float]:
    """One number per seed."""
    chosen = part[(part["metric"] == metric) & (part["statistic"] == statistic)]
    return chosen.sort_values("seed")["value"].tolist()


def _curves(table: pd.DataFrame, metric: str, middle: str, ends: tuple[str, str]) -> tuple[Curve, ...]:
    """Median over seeds of the statistic `middle`; the band spans the quantiles of all seeds."""
    curves = []
    rows = _competitors(table)
    rows = rows[rows["metric"] == metric]
    for (model, kind), part in rows.groupby(["model", "kind"], sort=False):
        over_seeds = part.groupby(["statistic", "lead_time"])["value"]
        middle_curve = over_seeds.median()[middle]
        curves.append(
            Curve(
                model=str(model),
                kind=_KINDS[str(kind)],
                x=np.asarray(middle_curve.index, dtype=float),
                median=np.asarray(middle_curve, dtype=float),
                low=np.asarray(over_seeds.min()[ends[0]], dtype=float),
                high=np.asarray(over_seeds.max()[ends[1]], dtype=float),
            )
        )
    return tuple(curves)


def _spectra(table: pd.DataFrame) -> tuple[Curve, ...]:
    curves = []
    rows = table[table["metric"] == "spectrum_last_half"]
    for (model, kind), part in rows.groupby(["model", "kind"], sort=False):
        shells = part[part["wavenumber"] > 0].groupby("wavenumber")["value"]
        median = shells.median()
        one = part["seed"].nunique() == 1
        curves.append(
            Curve(
                model=str(model),
                kind=_KINDS[str(kind)],
                x=np.asarray(median.index, dtype=float),
                median=np.asarray(median, dtype=float),
                low=None if one else np.asarray(shells.min(), dtype=float),
                high=None if one else np.asarray(shells.max(), dtype=float),
            )
        )
    return tuple(curves)


def _costs(board: pd.DataFrame, scenario: Scenario) -> tuple[CostPoint, ...]:
    return tuple(
        CostPoint(
            model=str(row.model),
            kind=_KINDS[str(row.kind)],
            seconds=float(row.rollout_seconds),  # type: ignore[arg-type]
            value=float(row.time),  # type: ignore[arg-type]
            low=float(row.time_low),  # type: ignore[arg-type]
            high=float(row.time_high),  # type: ignore[arg-type]
            beyond_horizon=bool(row.beyond),
        )
        for row in board.itertuples()
    )


def _rollouts(
    scenario: Scenario, table: pd.DataFrame, arrays: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[Rollout, ...]:
    """The first test trajectory of the truth and of every competitor's first seed."""
    time = scenario.dt * np.arange(1, scenario.frames + 1)
    keys = [key for key, _ in groupby(zip(table["model"], table["kind"], table["seed"], strict=True))]
    samples = {key: array["samples"][0, :, 0] for key, array in zip(keys, arrays.values(), strict=True) if array}
    truth = next(frames for (_, kind, _), frames in samples.items() if kind == "truth")
    rollouts, shown = [], set()
    for (model, kind, _), frames in samples.items():
        if model not in shown:
            shown.add(model)
            rollouts.append(Rollout(model, _KINDS[kind], time, frames, _pearson(frames, truth)))
    return tuple(rollouts)


def _pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation over space at each time; NaN where a frame is not finite or constant."""
    a, b = (x.reshape(len(x), -1).astype(float) for x in (a, b))
    a, b = (x - x.mean(1, keepdims=True) for x in (a, b))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def _convergence(scenario: Scenario, table: pd.DataFrame) -> Table:
    """How far the truth changes when its step is halved and its grid doubled."""
    rows = []
    check = table[table["kind"] == "check"]
    for name in ("half the step", "twice the points"):
        error = check[(check["metric"] == f"nrmse: {name}") & (check["statistic"] == "median")]
        crossing = check[(check["metric"] == f"high_correlation_time: {name}") & (check["statistic"] == "mean")]
        beyond = check[check["metric"] == f"high_correlation_time_beyond_horizon: {name}"]["value"]
        times = error["lead_time"].to_numpy()
        values = error["value"].to_numpy()
        rows.append(
            {
                "change": name,
                "error_tenth": values[np.argmin(abs(times - times[-1] / 10))],
                "error_half": values[np.argmin(abs(times - times[-1] / 2))],
                "error_end": values[-1],
                "stays": np.inf if float(beyond.iloc[0]) == 1 else float(crossing["value"].iloc[0]),
            }
        )
    end = scenario.dt * scenario.frames
    return Table(
        "Is the truth converged?",
        "The first test trajectories solved again from the same frame with half the step, and with twice the points "
        "and half the step. A competitor cannot be told apart from the truth below these errors.",
        pd.DataFrame(rows),
        (
            Column("change", "solved again with"),
            Column("error_tenth", f"nRMSE at {end / 10:g}", digits=2, better=Better.NONE),
            Column("error_half", f"at {end / 2:g}", digits=2),
            Column("error_end", f"at {end:g}", digits=2),
            Column("stays", "correlation stays high for", unit=scenario.time_unit, beyond=f"> {end:g}"),
        ),
    )


def _per_seed(scenario: Scenario, table: pd.DataFrame) -> Table:
    learned = table[table["kind"] == "learned"]
    rows = [
        {
            "model": model,
            "seed": seed,
            "time": _per_group(part, "high_correlation_time", "mean")[0],
            "one_step": _per_group(part, "one_step_nrmse", "mean")[0],
            "train_seconds": float(part["train_seconds"].iloc[0]),
            "memory_mb": float(part["memory_mb"].iloc[0]),
            "device": str(part["device"].iloc[0]),
        }
        for (model, seed), part in learned.groupby(["model", "seed"], sort=False)
    ]
    return Table("Each seed", "Learned models, one row per training run.", pd.DataFrame(rows))


def _columns(scenario: Scenario) -> tuple[Column, ...]:
    higher, lower = Better.HIGHER, Better.LOWER
    return (
        Column("model", "competitor"),
        Column("kind", "kind"),
        Column("seeds", "seeds"),
        Column(
            "time",
            "high-correlation time",
            unit=scenario.time_unit,
            better=higher,
            low="time_low",
            high="time_high",
            beyond=f"> {scenario.dt * scenario.frames:g}",
            meaning=(
                f"Lead time at which the Pearson correlation with the truth, averaged over the test trajectories, "
                f"falls below {scenario.threshold:g}; median over seeds, smallest and largest beside it."
            ),
        ),
        Column("one_step", "one-step nRMSE", digits=2, better=lower, meaning="Error of the first predicted frame."),
        Column(
            "spectral_distance",
            "log-spectral distance",
            digits=2,
            better=lower,
            meaning="RMS over wavenumber shells of the log10 ratio of the spectra, last half of the rollout.",
        ),
        Column("energy_inside", "energy within factor 2", digits=2, better=higher, meaning=_INSIDE.format("energy")),
        Column(
            "enstrophy_inside",
            "enstrophy within factor 2",
            digits=2,
            better=higher,
            meaning=_INSIDE.format("enstrophy"),
        ),
        Column(
            "blown_up", "blown up", digits=2, better=lower, meaning="Fraction of trajectories that left all bounds."
        ),
        Column("train_seconds", "training", unit="s", digits=3, better=lower),
        Column("rollout_seconds", "rollout", unit="s / trajectory", digits=2, better=lower),
        Column("memory_mb", "process peak so far", unit="MB", digits=3),
        Column("seed", "seed"),
        Column("device", "device"),
    )


_INSIDE = (
    "Fraction of trajectories whose {} stays within [0.5, 2] of the truth's time mean in the last half of the rollout."
)


def _summary(scenario: Scenario, board: pd.DataFrame) -> str:
    """Who wins, said plainly, the solver included."""
    horizon = scenario.dt * scenario.frames

    def stays(row: pd.Series) -> str:
        return f"more than {horizon:g}" if row["beyond"] else f"{row['time']:.1f}"

    parts = []
    for kind, what in (("learned", "The best learned model"), ("solver", "The best coarse solver")):
        ranked = board[board["kind"] == kind]
        if len(ranked):
            row = ranked.iloc[0]
            parts.append(
                f"{what}, {row['model']}, follows the truth for {stays(row)} {scenario.time_unit} "
                f"(a rollout takes {row['rollout_seconds'] * 1e3:.2g} ms per trajectory)"
            )
    still = board[board["kind"] == "trivial"].iloc[0]
    parts.append(f"Persistence does for {stays(still)}")
    winner = board.iloc[0]
    return f"{'. '.join(parts)}. {winner['model']} ({winner['kind']}) is first. {scenario.description.strip()}"


def _provenance(scenario: Scenario, table: pd.DataFrame) -> dict[str, str]:
    first = table.iloc[-1]
    return {
        "scenario": f"{scenario.name}, size {scenario.size}",
        "version": str(first["version"]),
        "commit": ", ".join(sorted(set(table["commit"].astype(str)))),
        "device": str(first["device"]),
        "seeds": ", ".join(map(str, scenario.seeds)),
        "configurations": f"{table['config_digest'].nunique()} row groups, digests in the table",
        "data": str(first["data_digest"]),
        "code": str(first["code_digest"]),
        "date": str(first["date"]),
    }


def _notes(scenario: Scenario) -> tuple[str, ...]:
    return (
        f"Correlation is Pearson's over channels and space, averaged over {scenario.test_data.trajectories} test "
        "trajectories; the given frame is never scored. In curves of learned models the line is the median over "
        "seeds; bands reach from the 10 % to the 90 % quantile of the test trajectories, over all seeds. In "
        "spectra they reach from the smallest to the largest seed, and single runs have none.",
        "The coarse solvers know the equation and start from the same given frame, in the precision of the data. "
        "Cost is the least of three timings of all test trajectories together, divided by their number, for all alike. "
        "Training time is not part of the cost axis.",
    )
