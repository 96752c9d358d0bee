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
from torch import Tensor, nn

from sciml.core import State, tree_leaves, tree_map
from sciml.core.checks import check_whole
from sciml.integrate.contract import kind_of
from sciml.integrate.events import Event
from sciml.integrate.events.event import check_direction, check_function
from sciml.integrate.terms import ODE


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

    Raises:
        TypeError: if `guard` or `jump` cannot be called.
        ValueError: for modes that are no whole numbers from 0 on, or a direction that is none of -1, 0, +1.
    """

    source: int
    target: int
    guard: Callable[[Tensor, Any], Tensor]
    direction: int = 0
    jump: Callable[[Tensor, Any], Any] | None = None

    def __post_init__(self) -> None:
        check_whole("source", self.source, 0)
        check_whole("target", self.target, 0)
        check_function("guard", self.guard)
        check_direction(self.direction)
        if self.jump is not None:
            check_function("jump", self.jump)


@final
@dataclass(frozen=True, eq=False)
class Hybrid:
    """A hybrid system. Its state is {"mode": (batch, 1), "y": y}.

        heat = Hybrid([off, on], [Transition(0, 1, cold), Transition(1, 0, warm)])
        solve(heat.term, Tsit5(), heat.state(y0, mode=0), t0, t1, event=heat.events)

    All fields are evaluated for all samples, and must be finite for each. Event k of a solve is transition k.

    Args:
        fields: one per mode.
        transitions: changes of mode, the first in order where several come at once. Guards are looked at anew in the
            new mode: one that is beyond its zero there already does nothing until it crosses it.
        at_most, probes: of all events; see `Event`.

    Raises:
        TypeError: if `fields` or `transitions` are no sequence, a field cannot be called, or a transition is none.
        ValueError: without a field, for a transition between modes that do not exist, or for `at_most`, `probes` that
            an `Event` would not take.
    """

    fields: Any
    transitions: Any  # both checked below, so that a mistake is answered in words
    at_most: int = 10_000
    probes: int = 3

    def __post_init__(self) -> None:
        for name, values in (("fields", self.fields), ("transitions", self.transitions)):
            if isinstance(values, str) or not isinstance(values, Sequence | nn.ModuleList):
                raise TypeError(f"`{name}` must be a list or a tuple, got {kind_of(values)}. Write [...] around it.")
        if len(self.fields) == 0:
            raise ValueError("`fields` must have one field per mode, got none. Give e.g. [off, on].")
        for k, field in enumerate(self.fields):
            check_function(f"fields[{k}]", field)
        check_whole("at_most", self.at_most, 1)
        check_whole("probes", self.probes, 0)
        for k, transition in enumerate(self.transitions):
            if not isinstance(transition, Transition):
                raise TypeError(
                    f"`transitions` must be a sequence of Transition, got a {type(transition).__name__}. Write "
                    "Transition(source, target, guard)."
                )
            for name in ("source", "target"):
                mode = getattr(transition, name)
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
        return tuple(self._event(k, transition) for k, transition in enumerate(self.transitions))

    def state(self, y: State, mode: int | Tensor = 0) -> dict[str, Any]:
        """A state in a mode, or in one per sample, (batch,).

        Raises:
            ValueError: for a mode that does not exist.
        """
        leaf = tree_leaves(y)[0]
        count, batch = len(self.fields), len(leaf)
        try:
            modes = torch.as_tensor(mode, device=leaf.device)
        except (TypeError, ValueError, RuntimeError):  # what torch raises for what is no number
            modes = torch.tensor(torch.nan)
        exists = sum((modes == k for k in range(count)), torch.zeros_like(modes, dtype=torch.bool))
        if modes.shape not in ((), (batch,)) or not bool(exists.all()):
            given = modes.tolist() if isinstance(mode, Tensor) else mode
            raise ValueError(
                f"`mode` must be a whole number from 0 to {count - 1}, or one per sample ({batch},), got {given!r}. "
                "Give one of the modes."
            )
        return {"mode": modes.to(leaf.real.dtype).expand(len(leaf))[:, None].clone(), "y": y}

    def _field(self, t: Tensor, state: Any) -> dict[str, Any]:
        mode, y = _parts(state)
        slopes = [_checked_slope(k, field(t, y), y) for k, field in enumerate(self.fields)]
        slope = slopes[0]
        for k, other in enumerate(slopes[1:], start=1):
            slope = _where(_is(mode, k), other, slope)
        return {"mode": torch.zeros_like(mode), "y": slope}

    def _event(self, k: int, transition: Transition) -> Event:
        # Elsewhere the guard is where its zero can be crossed from.
        elsewhere = -1.0 if transition.direction > 0 else 1.0

        def guard(t: Tensor, state: Any) -> Tensor:
            mode, y = _parts(state)
            value = _checked_guard(k, transition.guard(t, y), len(mode))
            return torch.where(_is(mode, transition.source), value, elsewhere)

        def jump(t: Tensor, state: dict[str, Any]) -> dict[str, Any]:
            y = state["y"] if transition.jump is None else transition.jump(t, state["y"])
            return {"mode": torch.full_like(state["mode"], transition.target), "y": y}

        return Event(guard, direction=transition.direction, jump=jump, at_most=self.at_most, probes=self.probes)


def _parts(state: Any) -> tuple[Tensor, Any]:
    """Mode and state proper.

    Raises:
        TypeError, ValueError: if it is not what `Hybrid.state` gives.
    """
    if not isinstance(state, dict) or set(state) != {"mode", "y"}:
        given = f"a dict of {sorted(map(str, state))}" if isinstance(state, dict) else f"a {type(state).__name__}"
        raise TypeError(
            'the state of a hybrid system must be {"mode": ..., "y": ...}, got '
            f"{given}. Begin from system.state(y0, mode=0)."
        )
    mode, y = state["mode"], state["y"]
    if mode.ndim != 2 or mode.shape[1] != 1:
        raise ValueError(
            f'"mode" of a hybrid state must have shape (batch, 1), got {tuple(mode.shape)}. Begin from '
            "system.state(y0, mode=0)."
        )
    return mode, y


def _checked_slope(k: int, slope: Any, y: Any) -> Any:
    """The slope of mode k, if it can stand beside those of the others."""
    if torch.compiler.is_compiling():
        return slope
    try:
        fits = tree_map(lambda leaf, given: isinstance(given, Tensor) and given.shape == leaf.shape, y, slope)
    except ValueError:  # of another structure
        fits = False
    if not all(tree_leaves(fits)):
        raise ValueError(
            f"fields[{k}] must return the structure and shapes of the state, {_shapes(y)}, got {_shapes(slope)}. "
            "Return the derivative of every entry."
        )
    return slope


def _shapes(tree: Any) -> Any:
    return tree_map(lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__, tree)


def _checked_guard(k: int, value: Any, batch: int) -> Tensor:
    """The guard of transition k, if it is one real number per row."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(
            f"the guard of transition {k} must be a real tensor, got {kind}. Return e.g. y[:, 0] - 20.0, and give its "
            "direction."
        )
    if value.shape != (batch,):
        raise ValueError(
            f"the guard of transition {k} must return one value per sample, shape ({batch},), got "
            f"{tuple(value.shape)}. Take single entries: y[:, 0], t[:, 0]."
        )
    return value


def _is(mode: Tensor, k: int) -> Tensor:
    """Which samples are in mode k, (batch,)."""
    return mode[:, 0] == k


def _where(mask: Tensor, yes: Any, no: Any) -> Any:
    return tree_map(lambda a, b: torch.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b), yes, no)
