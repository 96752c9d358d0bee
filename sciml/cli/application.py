"""The commands: thin layers that turn names and paths into objects, call the library, and say what happened."""

import enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

application = typer.Typer(
    help="Simulate, train, roll out, score and report PDE surrogates.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_out = Console()

ScenarioFile = Annotated[Path, typer.Argument(help="Scenario file, or the folder that holds scenario.toml.")]
Size = Annotated[str, typer.Option(help="Size of the scenario: smoke, default, full, ...")]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, ...")]


class Split(enum.StrEnum):
    """Which data of a scenario."""

    TRAIN = "train"
    TEST = "test"


class Format(enum.StrEnum):
    """What data are written as."""

    NETCDF = "netcdf"
    ZARR = "zarr"


def _device(name: str):
    """The device, or an error that says what is there."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"`--device` must name a device of this machine, got {name!r} ({error}). Try cpu.") from None
    return device


@application.command()
def simulate(
    what: Annotated[str, typer.Argument(help="Scenario file, its folder, or an equation by name (see gallery).")],
    out: Annotated[Path, typer.Option(help="netCDF4 file to write, or Zarr group if it ends in .zarr.")],
    split: Annotated[Split, typer.Option(help="Training or test data.")] = Split.TRAIN,
    size: Annotated[str | None, typer.Option(help="Size of a scenario; its default one by default.")] = None,
    trajectories: Annotated[int | None, typer.Option(help="How many; by default as the scenario says, or 32.")] = None,
    points: Annotated[int | None, typer.Option(help="Points along x, of an equation by name.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the initial fields, of an equation by name.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one per core if it pays.", min=1)] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler to work on.")] = None,
    format: Annotated[Format | None, typer.Option(help="By default what the name of OUT says.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what it would take.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace data of another configuration.")] = False,
) -> None:
    """Make reference data of a scenario or an equation. Interrupted runs continue where they stopped."""
    from sciml.cli.bars import Bars
    from sciml.cli.simulation import compute_for, format_named, recipe_for
    from sciml.data import Serial, produce
    from sciml.data import estimate as estimate_of

    recipe = recipe_for(what, size, split is Split.TEST, trajectories, points, seed)
    chosen = format_named(format and format.value)
    alone = estimate_of(recipe, out, compute=Serial(), format=chosen, overwrite=overwrite)
    compute = compute_for(alone, workers, scheduler)
    expected = alone.with_compute(compute)
    if expected.finished < expected.blocks:
        _out.print(str(expected), soft_wrap=True)
        expected.check_space(out)
    if estimate:
        return
    with Bars() as bars:
        data = produce(
            recipe,
            out,
            compute=compute,
            format=chosen,
            overwrite=overwrite,
            progress=lambda done, total: bars("simulate", done, total),
        )
    _out.print(f"{data!r} in {out}", soft_wrap=True)


@application.command()
def gallery(
    out: Annotated[Path, typer.Option(help="Folder for gallery.html, the pictures and their data.")],
    only: Annotated[list[str] | None, typer.Option(help="An equation by name; may be given again.")] = None,
) -> None:
    """Make a page with a picture and an animation of every equation. An interrupted one continues where it stopped."""
    from sciml.bench import write_gallery
    from sciml.cli.bars import Bars

    with Bars() as bars:
        written = write_gallery(out, only or None, progress=bars)
    _out.print(f"page:     {written.page}\noverview: {written.contact_sheet}", soft_wrap=True)


@application.command()
def train(
    scenario: ScenarioFile,
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and model.ckpt.")],
    model: Annotated[str, typer.Option(help="Name of a model of the scenario.")],
    data: Annotated[Path | None, typer.Option(help="Your own netCDF4 trajectories; by default simulated ones.")] = None,
    size: Size = "default",
    seed: Annotated[int, typer.Option(help="Of initialisation, data order and noise.")] = 0,
    stride: Annotated[int | None, typer.Option(help="Stored frames per model frame.", min=1)] = None,
    device: Device = "cpu",
) -> None:
    """Train one model of a scenario, on its data or on yours. Interrupted runs continue where they stopped."""
    from sciml.bench import load_scenario, simulate_data
    from sciml.bench.competitors import train as train_model
    from sciml.cli.bars import Bars
    from sciml.core.atomic import prepare_folder
    from sciml.data import file_digest, open_trajectories

    loaded = load_scenario(scenario, size)
    if model not in loaded.models:
        raise ValueError(
            f"`--model` must be a model of {scenario}, got {model!r}. Known: {', '.join(sorted(loaded.models))}."
        )
    where = _device(device)
    config = loaded.models[model]
    with Bars() as bars:
        if data is None:
            data = out / "train.nc"
            prepare_folder(out)
            simulate_data(loaded, loaded.train_data, data, lambda done, total: bars("simulate", done, total))
        trajectories = open_trajectories(data).load()
        _, seconds = train_model(
            config,
            trajectories,
            loaded.stride if stride is None else stride,
            seed=seed,
            folder=out,
            device=where,
            trained_on=file_digest(data),
            progress=lambda step, loss: bars("train", step, config.train.steps),
        )
    _out.print(f"trained {model} for {config.train.steps} steps in {seconds:.0f} s: {out / 'model.ckpt'}")


@application.command()
def rollout(
    checkpoint: Annotated[Path, typer.Argument(help="model.ckpt of `sciml train` or of a benchmark run.")],
    data: Annotated[Path, typer.Argument(help="netCDF4 trajectories to continue.")],
    out: Annotated[Path, typer.Option(help="netCDF4 file for the forecast.")],
    frames: Annotated[int, typer.Option(help="Frames to predict.", min=1)],
    start: Annotated[int, typer.Option(help="Frame of the data to start from.", min=0)] = 0,
    trajectories: Annotated[int | None, typer.Option(help="Use the first so many trajectories.", min=1)] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing forecast.")] = False,
    device: Device = "cpu",
) -> None:
    """Continue trajectories with a trained model and write the forecast."""
    from sciml.bench import load, read_card
    from sciml.cli.bars import Bars
    from sciml.core.checks import check_multiple
    from sciml.data import NetCDFSink, open_trajectories
    from sciml.surrogates import rollout as roll_out

    where = _device(device)
    if out.exists() and (not overwrite or out.resolve() in (data.resolve(), checkpoint.resolve())):
        raise ValueError(
            f"`--out` must be a new file, but {out} exists. Choose another name, or --overwrite for an old forecast."
        )
    card, stepper = read_card(checkpoint), load(checkpoint, device=where)
    truth = open_trajectories(data)
    if truth.fields.names != card.fields or truth.grid.ndim != card.ndim:
        raise ValueError(
            f"the data must hold the fields the model was trained on, {card.fields} on {card.ndim} axes; {data} has "
            f"{truth.fields.names} on {truth.grid.ndim}. Give data of the same kind."
        )
    truth = truth.every(check_multiple("dt of the model", card.dt, "dt of the data", truth.dt))
    count = len(truth) if trajectories is None else trajectories
    if count > len(truth):
        raise ValueError(f"`--trajectories` must be at most {len(truth)}, as many as {data} holds, got {count}.")
    context = truth.read(range(count), start, stepper.context_frames).to(where)
    metadata = truth.subset(range(count)).metadata.at(start + stepper.context_frames)
    with Bars() as bars, NetCDFSink(out, metadata) as sink:
        roll_out(
            stepper,
            context,
            frames,
            dt=card.dt,
            sink=sink,
            progress=lambda done: bars("roll out", done, frames),
        )
    _out.print(f"{count} trajectories continued by {frames} frames every {card.dt:g}: {out}")


@application.command()
def bench(
    scenario: ScenarioFile,
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run in it is continued.")],
    size: Size = "default",
    device: Device = "cpu",
) -> None:
    """Simulate, train, roll out, score and report. Finished rows are never computed again."""
    from sciml.bench import leaderboard, load_scenario, run
    from sciml.cli.bars import Bars

    loaded = load_scenario(scenario, size)
    where = _device(device)
    with Bars() as bars:
        result = run(loaded, out, device=str(where), progress=bars)
    board = leaderboard(loaded, result.table)
    shown = Table(title=f"{loaded.title} ({size})")
    columns = ("competitor", "kind", "stays right for", "one-step nRMSE", "s / trajectory")
    for column in columns:
        shown.add_column(column, justify="left" if column in ("competitor", "kind") else "right")
    for row in board.to_dict("records"):
        time = f"{'> ' if row['beyond'] else ''}{row['time']:.1f} ({row['time_low']:.1f}-{row['time_high']:.1f})"
        cost = f"{row['rollout_seconds']:.2g}"
        shown.add_row(str(row["model"]), str(row["kind"]), time, f"{row['one_step']:.1e}", cost)
    _out.print(shown)
    _out.print(f"table:  {result.table_path}\nreport: {result.report_path}")


@application.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished benchmark run.")],
    scenario: ScenarioFile,
    size: Size = "default",
    device: Device = "cpu",
) -> None:
    """Write the report of a finished run again, without computing anything."""
    from sciml.bench import load_scenario
    from sciml.bench.runner import report_again

    _out.print(f"report: {report_again(load_scenario(scenario, size), folder, device=str(_device(device)))}")


@application.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Trajectories, a checkpoint or a scenario.")],
    verify: Annotated[bool, typer.Option(help="Read every value of a data file and check it.")] = False,
) -> None:
    """Say what a file holds."""
    from sciml.cli.inspection import describe

    shown = Table(show_header=False, title=str(path))
    shown.add_column()
    shown.add_column(overflow="fold")
    for name, value in describe(path, verify=verify).items():
        shown.add_row(name, value)
    _out.print(shown)
