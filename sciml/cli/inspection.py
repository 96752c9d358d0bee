"""What a file holds, by its content."""

from pathlib import Path

from sciml.bench import load_scenario, read_card
from sciml.data import file_digest, open_trajectories
from sciml.data import verify as verify_data
from sciml.data.containers import is_zarr
from sciml.data.opening import is_ours

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"


def describe(path: Path, *, verify: bool = False) -> dict[str, str]:
    """Names and values to show for trajectories (HDF5 or Zarr), a checkpoint (zip) or a scenario (TOML).

    Args:
        path: the file.
        verify: for trajectories, also read and check every value and give the digest of the content.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or none of these.
    """
    if not path.exists():
        raise FileNotFoundError(f"a file must exist to be inspected, got {path}. Correct the path.")
    if is_zarr(path):
        return _trajectories(path, verify)
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(8)
    if start == _HDF5 or path.suffix == ".nc":
        return _trajectories(path, verify)
    if start.startswith(_ZIP) or path.suffix == ".ckpt":
        card = read_card(path)
        return {
            "kind": "checkpoint",
            "network": str(dict(card.network)),
            "target": "increment" if card.increment else "state",
            "dt": f"{card.dt:g}",
            "fields": ", ".join(card.fields),
            "axes": str(card.ndim),
            "trained on": card.trained_on,
        }
    scenario = load_scenario(path)
    return {
        "kind": "scenario",
        "title": scenario.title,
        "equation": str(scenario.built_equation),
        "models": ", ".join(scenario.models),
        "solvers": ", ".join(scenario.solvers),
        "seeds": ", ".join(map(str, scenario.seeds)),
    }


def _trajectories(path: Path, verify: bool) -> dict[str, str]:
    data = open_trajectories(path)
    shown = {
        "kind": "trajectories",
        "fields": ", ".join(f"{n} [{u}]" for n, u in zip(data.fields.names, data.fields.units, strict=True)),
        "shape": f"{data.shape} (trajectory, time, channel, {', '.join(data.grid.axis_names)})",
        "dt": f"{data.dt:g}",
        "times": f"{float(data.times[0]):g} ... {float(data.times[-1]):g}",
        "extent": " x ".join(f"{length:g}" for length in data.grid.extent),
        "size": f"{_bytes(path) / 1e6:.1f} MB",
        **{name: str(value) for name, value in data.provenance.items()},
    }
    if verify:
        if is_ours(path):
            verify_data(path)
        else:
            data.load()
        shown["content digest"] = file_digest(path)
        shown["verified"] = "every value is finite and readable"
    return shown


def _bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
