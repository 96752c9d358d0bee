"""Where a number comes from: the commit of the sources, the device, the versions."""

import datetime
import importlib.metadata
import platform
import subprocess
from pathlib import Path

import torch

import sciml


def commit() -> str:
    """The commit of the sources, `-dirty` if they were changed, or `unknown` outside a checkout."""
    here = Path(sciml.__file__).parent
    try:
        call = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def device_name(device: torch.device) -> str:
    """The name of a GPU, or the CPU with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def today() -> str:
    """Date and time of now in UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def provenance(device: torch.device, packages: tuple[str, ...] = ()) -> dict[str, object]:
    """Versions (of sciml, torch, Python and `packages`), commit, device, kind of processor and date of a record."""
    names = ("sciml-torch", "torch", *packages)
    versions = {name: importlib.metadata.version(name) for name in names}
    return {
        "versions": {**versions, "python": platform.python_version()},
        "commit": commit(),
        "device": f"{device_name(device)}, {platform.machine()}",
        "date": today(),
    }
