"""Trained steppers as files that know what they are: weights, and a card from which the stepper is rebuilt."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from sciml.bench.registry import NETWORKS, named
from sciml.core import FileContentError, from_mapping
from sciml.nn import Normalizer
from sciml.surrogates import AbstractStepper, Increment, OneStep
from sciml.training import load_weights, read_checkpoint, save_weights


@final
@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a trained `OneStep` is made of, apart from its weights.

    Args:
        network: table with `name` and the network's options, as in a scenario.
        increment: whether the network gives the change over a step.
        conserve_mean: whether the space average of the change is taken out.
        dt: time between frames, [time].
        fields: names of the channels.
        ndim: number of spatial axes.
        trained_on: digest of the training data.
    """

    network: Mapping[str, Any]
    increment: bool
    dt: float
    fields: tuple[str, ...]
    ndim: int
    conserve_mean: bool = False
    trained_on: str = ""

    def build(self, normalizer: Normalizer | None = None, increment_scale: Normalizer | None = None) -> OneStep:
        """The stepper with fresh weights; scales not given are read with the weights."""
        channels = len(self.fields)
        network = named(NETWORKS, "network", self.network, "network").build(channels, channels, self.ndim)
        scale = increment_scale or Normalizer.identity(channels)
        target = Increment(scale, conserve_mean=self.conserve_mean) if self.increment else None
        return OneStep(network, normalizer or Normalizer.identity(channels), dt=self.dt, target=target)


def save_model(path: str | os.PathLike[str], stepper: OneStep, card: ModelCard) -> None:
    """Write a stepper and its card to one file, whole or not at all."""
    save_weights(Path(path), stepper, {"card": dataclasses.asdict(card)})


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """The card of a file written by `save_model`.

    Raises:
        FileNotFoundError: if there is no such file.
        FileContentError: if it is damaged or has no card.
    """
    content = read_checkpoint(Path(path))
    if "card" not in content:
        raise FileContentError(
            f"{path} must say what model it holds, but it has only {sorted(content)}. Build the stepper yourself and "
            "call load(path, stepper=...), or give the file that `sciml train` wrote."
        )
    return from_mapping(ModelCard, content["card"], str(path))


def load(
    path: str | os.PathLike[str], *, stepper: AbstractStepper | None = None, device: torch.device | str = "cpu"
) -> AbstractStepper:
    """A trained stepper, ready for `sciml.surrogates.rollout`.

    Args:
        path: checkpoint of `sciml train`, of a benchmark run, or of `sciml.training.fit`.
        stepper: what to load the weights into; by default it is built from the card in the file.
        device: where to put it.

    Returns:
        The stepper in evaluation mode.

    Raises:
        FileNotFoundError: if there is no such file.
        FileContentError: if it is damaged, has no card and no stepper is given, or holds another model.
    """
    built = read_card(path).build() if stepper is None else stepper
    load_weights(built, Path(path))
    return built.to(device).eval()
