"""Checkpoints: written whole or not at all, read with an answer for every way they can be wrong."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sciml.core import FileContentError
from sciml.core.atomic import replacing

FORMAT = 1


def write_atomically(path: Path, content: Mapping[str, Any]) -> None:
    """Save `content` under `path`, whole or not at all."""
    with replacing(path) as temporary:
        torch.save({"format": FORMAT, **content}, temporary)


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """The content of a checkpoint on the CPU; code inside the file is never run.

    Raises:
        FileNotFoundError: if there is no such file.
        FileContentError: if the file is truncated or is no checkpoint of this library.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"a checkpoint must exist to be read, got {path}. Train first or correct the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, pickle.UnpicklingError) as error:
        raise FileContentError(
            f"a checkpoint must be a complete file written by this library, but {path} cannot be read ({error}). "
            "Copy it again or remove it and train again."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise FileContentError(
            f"a checkpoint must have format {FORMAT}, but {path} has {found}. Write it with the same version of sciml."
        )
    return content


def save_weights(path: Path | str, model: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Write the weights of `model` with `metadata` (numbers, strings, lists and dicts) to `path`, atomically."""
    write_atomically(Path(path), {"model": model.state_dict(), **metadata})


def load_weights(model: nn.Module, path: Path | str) -> dict[str, Any]:
    """Load the averaged weights of a checkpoint into `model` and return the rest of its content.

    Raises:
        FileNotFoundError: if there is no such file.
        FileContentError: if the file cannot be read, holds no weights or those of another model.
    """
    content = read_checkpoint(path)
    if "model" not in content:
        raise FileContentError(
            f"a checkpoint must hold model weights, but {path} has only {sorted(content)}. Give the file named by "
            "FitResult.checkpoint."
        )
    load_state(model, content.pop("model"), path)
    return content


def load_state(module: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Load `state` into `module`, or say by name what does not fit.

    Raises:
        FileContentError: if names or shapes differ.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ]
    if missing or unexpected or shapes:
        found = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        raise FileContentError(
            f"a checkpoint must be of the same model, but {path} is not: "
            + "; ".join(f"{what}: {_some(names)}" for what, names in found if names)
            + ". Build the model with the settings it was trained with, or train this one in another folder."
        )
    module.load_state_dict(state)


def _some(names: list[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
