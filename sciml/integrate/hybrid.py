"""Hybrid systems: each sample is in one of several modes, each with a field of its own, and changes it at guards.

The mode is part of the state, so that samples in different modes are solved in one batch. A transition is an event
whose function is the guard where the sample is in its source, and a constant elsewhere.

Source: Poli et al. (2021), Neural Hybrid Automata: Learning Dynamics with Multiple Modes and Stochastic Transitions,
NeurIPS (the system; transitions here are deterministic).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.core import State, tree_leaves, tree_map
from sciml.core.checks import check_whole
from sciml.integrate.events import Event
from sciml.integrate.terms import ODE, Field


@final
@dataclass(frozen=True, eq=False)
class Transition:
    """A change of mode.

    Args:
        source, target: numbers of the modes.
        guard: guard(t, y) -> (batch,): the sample leaves `source` where it crosses zero; see `Event.fn`. It is
            evaluated for samples in other modes too, and must be real.
        direction: +1 rising, -1 falling, 0 both.
        jump: jump(t, y) -> y, the state in the new mode; by default as it was.
    """

    source: int
    target: int
    guard: Callable[[Tensor, Any], Tensor]
    direction: int = 0
    jump: Callable[[Tensor, Any], Any] | None = None


@final
@dataclass(frozen=True, eq=False)
class Hybrid:
    """A hybrid system. Its state is {"mode": (batch, 1), "y": y}.

        heat = Hybrid([off, on], [Transition(0, 1, cold), Transition(1, 0, warm)])
        solve(heat.term, Tsit5(), heat.state(y0, mode=0), t0, t1, event=heat.events)

    All fields are evaluated for all samples, and must be finite for each.

    Args:
        fields: one per mode.
        transitions: changes of mode, the first in order where several come at once. Guards are looked at anew in the
            new mode: one that is beyond its zero there already does nothing until it crosses it.
        at_most, probes: of all events; see `Event`.

    Raises:
        TypeError: if a transition is none.
        ValueError: without a field, or for a transition between modes that do not exist.
    """

    fields: Sequence[Field]
    transitions: Sequence[Any]  # checked below, so that a mistake is answered in words
    at_most: int = 10_000
    probes: int = 3

    def __post_init__(self) -> None:
        if len(self.fields) == 0:
            raise ValueError("`fields` must have one field per mode, got none. Give e.g. [off, on].")
        for k, transition in enumerate(self.transitions):
            if not isinstance(transition, Transition):
                raise TypeError(
                    f"`transitions` must be a sequence of Transition, got a {type(transition).__name__}. Write "
                    "Transition(source, target, guard)."
                )
            for name in ("source", "target"):
                mode = getattr(transition, name)
                check_whole(name, mode, 0)
                if mode >= len(self.fields):
                    raise ValueError(
                        f"transition {k} has the {name} {mode}, but modes are numbered from 0 to "
                        f"{len(self.fields) - 1}. Give it a field, or change the number."
                    )

    @property
    def term(self) -> ODE:
        """The right-hand side: of each sample's mode."""
        return ODE(self._field)

    @property
    def events(self) -> tuple[Event, ...]:
        """One per transition."""
        return tuple(self._event(transition) for transition in self.transitions)

    def state(self, y: State, mode: int | Tensor = 0) -> dict[str, Any]:
        """A state in a mode, or in one per sample, (batch,).

        Raises:
            ValueError: for a mode that does not exist.
        """
        leaf = tree_leaves(y)[0]
        modes = torch.as_tensor(mode, device=leaf.device)
        if modes.shape not in ((), (len(leaf),)) or not bool(((modes >= 0) & (modes < len(self.fields))).all()):
            raise ValueError(
                f"`mode` must be a number from 0 to {len(self.fields) - 1}, or one per sample ({len(leaf)},), got "
                f"{modes.tolist()}. Give one of the modes."
            )
        return {"mode": modes.to(leaf.real.dtype).expand(len(leaf))[:, None].clone(), "y": y}

    def _field(self, t: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        mode, y = state["mode"], state["y"]
        slope = self.fields[0](t, y)
        for k, field in enumerate(self.fields[1:], start=1):
            slope = _where(_is(mode, k), field(t, y), slope)
        return {"mode": torch.zeros_like(mode), "y": slope}

    def _event(self, transition: Transition) -> Event:
        # Elsewhere the guard is where its zero can be crossed from.
        elsewhere = -1.0 if transition.direction > 0 else 1.0

        def guard(t: Tensor, state: dict[str, Any]) -> Tensor:
            value = transition.guard(t, state["y"])
            if not value.is_floating_point():
                raise TypeError(
                    f"the guard of a transition must be real, got {value.dtype}. Return e.g. y[:, 0] - 20.0, and give "
                    "its direction."
                )
            return torch.where(_is(state["mode"], transition.source), value, elsewhere)

        def jump(t: Tensor, state: dict[str, Any]) -> dict[str, Any]:
            y = state["y"] if transition.jump is None else transition.jump(t, state["y"])
            return {"mode": torch.full_like(state["mode"], transition.target), "y": y}

        return Event(guard, direction=transition.direction, jump=jump, at_most=self.at_most, probes=self.probes)


def _is(mode: Tensor, k: int) -> Tensor:
    """Which samples are in mode k, (batch,)."""
    return mode[:, 0] == k


def _where(mask: Tensor, yes: Any, no: Any) -> Any:
    return tree_map(lambda a, b: torch.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b), yes, no)
