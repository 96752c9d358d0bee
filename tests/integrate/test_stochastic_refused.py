"""What stochastic terms and methods are not made for, and what they say to it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from sciml.core import Key
from sciml.integrate import (
    BAOAB,
    BDF,
    ETD1,
    ODE,
    PID,
    RK4,
    SDE,
    SRA1,
    SRI2,
    Adams,
    AdditiveNoise,
    AlongChords,
    DiagonalNoise,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Fixed,
    GeneralNoise,
    GeneralShARK,
    Heun,
    Ito,
    Kvaerno3,
    Langevin,
    LogODE,
    Milstein,
    RadauIIA3,
    Reversible,
    Rodas5P,
    ScalarNoise,
    SemiLinear,
    SharedNoise,
    ShARK,
    SlowRK,
    SPaRK,
    Split,
    StochasticHeun,
    StochasticTableau,
    Stratonovich,
    Tsit5,
    solve,
    to_ito,
    to_stratonovich,
)
from sciml.integrate.methods.additive_noise import check_additive
from sciml.integrate.methods.sri import SRITableau
from sciml.paths import BrownianMotion, NoArea
from tests.integrate.stochastic_terms import N, noise_of, path_of, start, term_for
from tests.stochastic_orders import FIELDS, METHODS, SENSES, STRUCTURES, serves

REFUSED = [
    pytest.param(method, structure, sense, id=f"{method!r}-{structure}-{sense}")
    for structure in STRUCTURES
    for sense in SENSES
    for method in METHODS
    if not serves(method, structure, sense)
]


@pytest.mark.parametrize(("method", "structure", "sense"), REFUSED)
def test_what_a_method_is_not_made_for_is_refused(method, structure, sense):
    f, g, noise = FIELDS[structure]
    drift = SemiLinear(torch.tensor([-1.0, -0.5]), f) if method.linear else f
    term = SDE(drift, g, path_of(noise), structure=STRUCTURES[structure], sense=SENSES[sense])
    wrong_sense = not isinstance(SENSES[sense], method.senses) and structure != "additive"
    name = type(method).__name__
    match = (
        f"{name} integrates in the sense of .* Convert it with" if wrong_sense else f"{name} is made for .* noise, got"
    )
    with pytest.raises(TypeError, match=match):
        solve(term, method, start(), 0.0, 1.0, control=Fixed(n=N))


def test_what_cannot_be_converted_is_refused():
    f, g, _ = FIELDS["scalar"]
    mixed = SDE(f, g, path_of((2,)), structure=DiagonalNoise(), sense=Stratonovich())
    with pytest.raises(ValueError, match="entry i of g depends on entry i of y alone.*torch.diag_embed"):
        solve(to_ito(mixed), EulerMaruyama(), start(), 0.0, 1.0, control=Fixed(n=N))
    correlated = path_of((2,), covariance=torch.tensor([[1.0, 0.5], [0.5, 2.0]]))
    with pytest.raises(ValueError, match="only terms with independent Brownian motions.*multiply g by its factor"):
        to_ito(replace(mixed, path=correlated))
    with pytest.raises(ValueError, match="SRI2 counts on independent Brownian motions.*multiply g"):
        solve(replace(mixed, path=correlated, sense=Ito()), SRI2(), start(), 0.0, 1.0, control=Fixed(n=N))


def test_shared_noise_is_converted_motion_by_motion():
    """As the matrix that it stands for."""
    motion = torch.tensor([0, 1, 0])
    g = lambda t, y: torch.sin(y.flip(1)) + y  # noqa: E731
    path, y = path_of((2,)), torch.linspace(-1, 1, 12).reshape(4, 3)
    term = SDE(lambda t, y: -y, g, path, structure=SharedNoise(motion), sense=Stratonovich())
    which = torch.nn.functional.one_hot(motion)
    wide = replace(term, g=lambda t, y: g(t, y)[..., None] * which, structure=GeneralNoise())
    for convert, sense in ((to_ito, Stratonovich()), (to_stratonovich, Ito())):
        made, exact = (convert(replace(x, sense=sense)).f(torch.tensor(0.0), y) for x in (term, wide))
        torch.testing.assert_close(made, exact)


def swing(path: Any, temperature: float = 0.7) -> Langevin:
    return Langevin(lambda t, x: -x - torch.sin(3 * x), path, friction=1.5, temperature=temperature)


def test_langevin_dynamics_refuse_what_they_cannot_do():
    path = path_of((2,))
    with pytest.raises(TypeError, match="BAOAB steps Langevin.*got SDE"):
        solve(term_for(StochasticHeun(), path), BAOAB(), start(), 0.0, 1.0, control=Fixed(n=N))
    with pytest.raises(TypeError, match=r"must be a pair \(x, v\).*Give y0"):
        solve(swing(path), BAOAB(), (start(), start(), start()), 0.0, 1.0, control=Fixed(n=N))
    with pytest.raises(TypeError, match="`force` must be a function"):
        Langevin(1.0, path, friction=1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`friction` must be one number, got a tensor of shape \(2,\).*as SDE"):
        Langevin(lambda t, x: x, path, friction=torch.ones(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`friction` must be positive.*ODE"):
        Langevin(lambda t, x: x, path, friction=0.0)
    with pytest.raises(ValueError, match="needs a path of shape"):
        solve(swing(path_of((3,))), BAOAB(), (start(), start()), 0.0, 1.0, control=Fixed(n=N))


# Bad input


def wrong(**changes: Any) -> SDE:
    return replace(term_for(StochasticHeun(), path_of((2,))), **changes)


BAD: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "matrix for diagonal": (
        lambda: wrong(g=FIELDS["general"][1]),
        StochasticHeun(),
        ValueError,
        r"DiagonalNoise\(\) must have the shape of the state, .*got \(4, 2, 2\).*Drop the further axis",
    ),
    "vector for general": (
        lambda: wrong(structure=GeneralNoise()),
        StochasticHeun(),
        ValueError,
        r"GeneralNoise\(\) must have the shape of the state and one more axis for the 2 Brownian.*got \(4, 2\)",
    ),
    "no batch axis": (
        lambda: wrong(g=lambda t, y: torch.ones(2)),
        StochasticHeun(),
        ValueError,
        r"got \(2,\).*batch axis is missing: return g.expand_as\(y\)",
    ),
    "a matrix without batch axis": (
        lambda: wrong(g=lambda t, y: torch.eye(2), structure=GeneralNoise()),
        StochasticHeun(),
        ValueError,
        r"batch axis is missing: return g.expand\(len\(y\), -1, -1\)",
    ),
    "shared noise": (
        lambda: wrong(structure=SharedNoise(torch.tensor([0, 1])), sense=Ito()),
        EulerMaruyama(),
        TypeError,
        r"Take e.g. ExponentialEulerMaruyama\(\) with a SemiLinear.*or give the matrix g.* as GeneralNoise\(\)",
    ),
    "wrong rank": (lambda: wrong(g=lambda t, y: y[:, 0]), StochasticHeun(), ValueError, r"got \(4,\)"),
    "wrong dtype": (lambda: wrong(g=lambda t, y: y.float()), StochasticHeun(), ValueError, "to one dtype"),
    "no tensor": (lambda: wrong(g=lambda t, y: 1.0), StochasticHeun(), TypeError, "diffusion must return tensors"),
    "wrong sense": (
        lambda: wrong(),
        EulerMaruyama(),
        TypeError,
        r"EulerMaruyama integrates in the sense of Ito, got a Stratonovich term. Convert it with to_ito\(term\)",
    ),
    "short path": (
        lambda: wrong(path=BrownianMotion.over(Key.rows(0, 4), (2,), 0.0, 0.5)),
        StochasticHeun(),
        ValueError,
        "`path` must cover the whole interval from 0 to 1, got knots from 0 to 0.5",
    ),
    "path of another shape": (
        lambda: wrong(path=path_of((3,))),
        StochasticHeun(),
        ValueError,
        r"needs a path of shape \(2,\) per sample, got \(3,\)",
    ),
    "path of another batch": (
        lambda: wrong(path=path_of((2,), 3)),
        StochasticHeun(),
        ValueError,
        "one row per sample, 4, got 3",
    ),
    "path of another precision": (
        lambda: wrong(path=path_of((2,), dtype=torch.float32)),
        StochasticHeun(),
        TypeError,
        "precision of the state",
    ),
    "no area": (
        lambda: wrong(path=BrownianMotion.over(Key.rows(0, 4), (2,), 0.0, 1.0)),
        SPaRK(),
        ValueError,
        r"SPaRK needs the space-time Levy area H.*levy=SpaceTime\(\)",
    ),
    "a linear part": (
        lambda: wrong(f=SemiLinear(-1.0, FIELDS["diagonal"][0])),
        StochasticHeun(),
        TypeError,
        "StochasticHeun takes a drift that is a function, got a SemiLinear.*ExponentialEulerMaruyama",
    ),
    "no linear part": (
        lambda: wrong(sense=Ito()),
        ExponentialEulerMaruyama(),
        TypeError,
        r"takes a drift that is SemiLinear\(L, N\)",
    ),
    "additive noise that is none": (
        lambda: wrong(structure=AdditiveNoise(diagonal=True)),
        SRA1(),
        ValueError,
        r"AdditiveNoise\(\) must not depend on the state, but .* changes by .*Choose DiagonalNoise",
    ),
    "no areas between motions": (
        lambda: SDE(*FIELDS["general"][:2], path_of((2,)), structure=GeneralNoise(), sense=Ito()),
        Milstein(),
        ValueError,
        r"Milstein needs the areas between the Brownian motions.*got none|has none. Give .*levy=Foster\(\)",
    ),
    "no areas for the log-ODE": (
        lambda: SDE(*FIELDS["general"][:2], path_of((2,)), structure=GeneralNoise(), sense=Stratonovich()),
        LogODE(),
        ValueError,
        r"LogODE needs the areas between the Brownian motions.*levy=Foster\(\)",
    ),
    "an ODE": (lambda: ODE(lambda t, y: y), StochasticHeun(), TypeError, "StochasticHeun steps SDE.*got ODE"),
    "an ODE method": (
        lambda: wrong(),
        Heun(),
        TypeError,
        r"Heun is an explicit method and steps ODE.*got SDE. Take a method for noise, such as StochasticHeun\(\)",
    ),
    "an implicit ODE method": (
        lambda: wrong(sense=Ito()),
        Kvaerno3(),
        TypeError,
        r"Kvaerno3.*got SDE. Take a method for noise, such as EulerMaruyama\(\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered(name):
    term, method, kind, match = BAD[name]
    with pytest.raises(kind, match=match):
        solve(term(), method, start(), 0.0, 1.0, control=Fixed(n=N))


def test_terms_refuse_what_they_are_not_made_of():
    f, g, noise = FIELDS["diagonal"]
    with pytest.raises(TypeError, match="`g` must be a function or a module, got a float"):
        SDE(f, 1.0, path_of(noise), structure=DiagonalNoise(), sense=Ito())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`path` must be a path with increments, got a Key"):
        SDE(f, g, Key.rows(0, 4), structure=DiagonalNoise(), sense=Ito())
    with pytest.raises(TypeError, match="`structure` must be an object, got 'diagonal'"):
        SDE(f, g, path_of(noise), structure="diagonal", sense=Ito())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`sense` must be an object.*Give Ito"):
        SDE(f, g, path_of(noise), structure=DiagonalNoise(), sense=Ito)  # type: ignore[arg-type]


def test_ito_terms_run_forwards():
    with pytest.raises(ValueError, match=r"an Ito term runs forwards only.*to_stratonovich\(term\)"):
        solve(wrong(sense=Ito()), EulerMaruyama(), start(), 1.0, 0.0, control=Fixed(n=N))


def test_trees_and_complex_states_are_refused_where_they_must_be():
    path = path_of((2,))
    with pytest.raises(TypeError, match="diffusion must return the structure of the state"):
        term = wrong(f=lambda t, y: y, g=lambda t, y: y["a"], path=path)
        solve(term, StochasticHeun(), {"a": start()}, 0.0, 1.0, control=Fixed(n=N))
    spectral = SDE(SemiLinear(-1.0, lambda t, y: 0 * y), lambda t, y: y, path, structure=DiagonalNoise(), sense=Ito())
    with pytest.raises(TypeError, match="ExponentialEulerMaruyama takes a real state.*two channels"):
        solve(spectral, ExponentialEulerMaruyama(), start() + 0j, 0.0, 1.0, control=Fixed(n=N))


def test_tableaus_are_checked():
    with pytest.raises(ValueError, match="stochastic tableau: b c must be 0.5, got 0.25"):
        StochasticTableau(c=(0.0, 0.5), a=((0.5,),), b=(0.5, 0.5))
    with pytest.raises(ValueError, match="weights for additive noise: b_2 c must be 0.5"):
        check_additive((0.5, 0.5, 0.5, 1.0, 1.0, 1.0))
    good = SRI2.tableau
    with pytest.raises(ValueError, match="SRI tableau: beta1 1 must be 1, got .*"):
        SRITableau(good.a0, good.b0, good.a1, good.b1, good.alpha, ((-2.0, 4 / 3, 2 / 3, 0.0), *good.beta[1:]))
    assert GeneralShARK.tableau.additive == 1.5 and SRA1.weights[0] == 0.75 and ScalarNoise().commutes


ODE_METHODS = [Adams(4), BDF(), Kvaerno3(), RadauIIA3(), Rodas5P()]


@pytest.mark.parametrize("method", ODE_METHODS, ids=lambda m: type(m).__name__)
def test_other_methods_for_odes_refuse_noise(method):
    f, g, noise = FIELDS["additive"]
    term = SDE(f, g, path_of(noise), structure=AdditiveNoise(), sense=Ito())
    with pytest.raises(TypeError, match=f"{type(method).__name__}.*ODE.*got SDE"):
        solve(term, method, start(), 0.0, 1.0, control=Fixed(n=N))


def test_exponential_methods_for_odes_refuse_noise():
    term = wrong(f=SemiLinear(-1.0, FIELDS["diagonal"][0]))
    with pytest.raises(TypeError, match="SemiLinear.*got SDE"):
        solve(term, ETD1(), start(), 0.0, 1.0, control=Fixed(n=N))


def test_explicit_methods_take_additive_noise_on_given_steps_only():
    f, g, noise = FIELDS["additive"]
    term = SDE(f, g, path_of(noise), structure=AdditiveNoise(), sense=Ito())
    with pytest.raises(TypeError, match=r"Tsit5 along chords of noise, got PID. Wrap it as StepDoubling\(Tsit5"):
        solve(term, Tsit5(), start(), 0.0, 1.0, control=PID())
    with pytest.raises(ValueError, match="Tsit5 along chords of noise has no error estimate"):
        solve(term, Tsit5(), start(), 0.0, 1.0)
    with pytest.raises(
        TypeError, match=r"AlongChords takes an explicit Runge-Kutta method, got Adams.*AlongChords\(RK4"
    ):
        AlongChords(Adams(4))
    with pytest.raises(TypeError, match="AlongChords is made for AdditiveNoise noise, got DiagonalNoise"):
        solve(wrong(), AlongChords(RK4()), start(), 0.0, 1.0, control=Fixed(n=N))


ADAPTIVE: list[tuple[Any, Any, str]] = [
    (SlowRK(), wrong, r"SlowRK, got PID. Wrap it as StepDoubling\(SlowRK\(\)\)"),
    (EulerMaruyama(), lambda: wrong(sense=Ito()), r"cannot take adaptive steps: Take Milstein\(\), or to_stratonovich"),
    (
        EulerMaruyama(),
        lambda: SDE(*FIELDS["general"][:2], path_of((2,)), structure=GeneralNoise(), sense=Ito()),
        r"Take Milstein\(\) with a path of levy=Foster\(\)",
    ),
    (ExponentialEulerMaruyama(), lambda: wrong(sense=Ito()), r"Give its steps as Fixed\(n=...\)"),
    (BAOAB(), lambda: swing(path_of((2,))), r"Give its steps as Fixed\(n=...\)"),
]


@pytest.mark.parametrize(("method", "term", "match"), ADAPTIVE, ids=lambda x: type(x).__name__)
def test_who_has_no_error_estimate_is_told_what_serves(method, term, match):
    with pytest.raises(TypeError, match=match):
        solve(term(), method, start(), 0.0, 1.0, control=PID())


def test_remedies_name_methods_that_take_the_term():
    f, g, noise = FIELDS["additive"]
    term = SDE(f, g, path_of(noise), structure=AdditiveNoise(), sense=Ito())
    with pytest.raises(TypeError, match=r"such as ShARK\(\) with a path of levy=SpaceTime\(\), or an explicit one"):
        solve(term, Kvaerno3(), start(), 0.0, 1.0, control=Fixed(n=N))
    for method in (ShARK(), Heun()):
        solve(term, method, start(), 0.0, 1.0, control=Fixed(n=N))
    shared = wrong(structure=SharedNoise(torch.tensor([0, 1])), f=SemiLinear(-1.0, lambda t, y: 0 * y), sense=Ito())
    solve(shared, ExponentialEulerMaruyama(), start(), 0.0, 1.0, control=Fixed(n=N))
    for term, name in (
        (SemiLinear(-1.0, lambda t, y: y), "ETDRK4"),
        (swing(path_of((2,))), "UBU"),
        (Split(lambda t, y: y, lambda t, y: y), "KenCarp4"),
    ):
        with pytest.raises(TypeError, match=rf"Take a method made for it, such as {name}\(\)"):
            solve(term, Tsit5(), (start(), start()) if name == "UBU" else start(), 0.0, 1.0, control=Fixed(n=N))


def test_methods_say_what_the_path_must_hold():
    """With that, and nothing more, each takes a step."""
    for method in METHODS:
        path = path_of(noise_of(method), levy=method.levy)
        solve(term_for(method, path), method, start(), 0.0, 1.0, control=Fixed(n=N))
        if method.levy != NoArea():
            poor = replace(term_for(method, path), path=path_of(noise_of(method), levy=NoArea()))
            with pytest.raises(ValueError, match="needs the space-time Levy area H"):
                solve(poor, method, start(), 0.0, 1.0, control=Fixed(n=N))


def test_additive_noise_is_looked_at_once_per_solve():
    calls = []

    def g(t, y):
        calls.append(len(y))
        return torch.ones_like(y)

    term = SDE(lambda t, y: -y, g, path_of((2,)), structure=AdditiveNoise(diagonal=True), sense=Ito())
    solve(term, EulerMaruyama(), start(), 0.0, 1.0, control=Fixed(n=N))
    assert len(calls) == N + 2


def test_steps_that_cannot_be_taken_back_are_refused():
    with pytest.raises(TypeError, match="Reversible needs a method whose steps can be taken back, got StochasticHeun"):
        solve(wrong(), StochasticHeun(), start(), 0.0, 1.0, control=Fixed(n=N), gradient=Reversible())


def test_a_term_needs_a_path():
    with pytest.raises(TypeError, match="missing .*argument: 'path'"):
        SDE(*FIELDS["diagonal"][:2], structure=DiagonalNoise(), sense=Ito())  # type: ignore[call-arg]
