import pytest
import torch
from torch import nn

from sciml.core import Condition, FieldBatch, Key
from sciml.grids import Grid
from sciml.nn import Normalizer
from sciml.surrogates import (
    Conditioning,
    Curriculum,
    Increment,
    OneStep,
    OneStepMode,
    Persistence,
    Spectral,
    State,
    Unrolled,
    rollout,
)
from tests.surrogates.cases import DT, SmallNetwork, scale, wave_batch, waves


class Times(nn.Module):
    """factor * x, and what it was given."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.seen = torch.empty(0)

    def forward(self, x):
        self.seen = x.detach()
        return self.factor * x[:, :1]


def gradients(stepper: OneStep, batch: FieldBatch) -> torch.Tensor:
    stepper.zero_grad()
    stepper.loss(batch, Key(0, batch.ids)).total.backward()
    return torch.cat([p.grad.flatten() for p in stepper.parameters() if p.grad is not None])


def test_state_target_by_hand():
    stepper = OneStep(Times(3.0), scale(2.0, 4.0), dt=DT)
    out = rollout(stepper, torch.full((1, 1, 1, 8), 6.0), 1, dt=DT)
    assert out[0, 0, 0, 0] == 2 + 4 * 3 * (6 - 2) / 4  # mean + std * network((u - mean) / std)


def test_increment_target_by_hand():
    stepper = OneStep(Times(3.0), scale(2.0, 4.0), dt=DT, target=Increment(scale(0.5, 0.25)))
    out = rollout(stepper, torch.full((1, 1, 1, 8), 6.0), 1, dt=DT)
    assert out[0, 0, 0, 0] == 6 + 0.5 + 0.25 * 3 * (6 - 2) / 4


@pytest.mark.parametrize("target, unit", [(State(), 4.0), (Increment(scale(0.0, 0.25)), 0.25)])
def test_loss_is_in_units_of_the_target(target, unit):
    stepper = OneStep(Times(0.0), scale(0.0, 4.0), dt=DT, target=target)
    frames = torch.zeros(2, 2, 1, 8)
    frames[:, 1] = 3.0
    loss = stepper.loss(FieldBatch(frames, torch.arange(2), DT), Key.rows(0, 2))
    assert loss.total.item() == pytest.approx((3 / unit) ** 2)


def test_context_frames_are_stacked_oldest_first_and_move_on():
    network = Times(1.0)
    stepper = OneStep(network, scale(0.0, 1.0), dt=DT, context_frames=3)
    context = torch.arange(1.0, 4.0)[None, :, None, None].expand(1, 3, 1, 4)
    out = rollout(stepper, context, 2, dt=DT)  # the network gives back the oldest frame
    assert out[0, :, 0, 0].tolist() == [1.0, 2.0]
    assert network.seen[0, :, 0].tolist() == [2.0, 3.0, 1.0]


def test_condition_becomes_channels():
    conditioning = Conditioning(parameters=2, static=1, mask=True)
    network = Times(1.0)
    stepper = OneStep(network, scale(0.0, 1.0), dt=DT, conditioning=conditioning)
    condition = Condition(
        parameters=torch.tensor([[7.0, 8.0]]), static=torch.full((1, 1, 4), 9.0), mask=torch.ones(1, 1, 4)
    )
    rollout(stepper, torch.zeros(1, 1, 1, 4), 1, dt=DT, condition=condition)
    assert network.seen[0, :, 2].tolist() == [0.0, 7.0, 8.0, 9.0, 1.0]


@pytest.mark.parametrize("name, declared, given", [("parameters", 2, 0), ("parameters", 0, 3), ("static", 1, 2)])
def test_condition_that_was_not_declared_is_refused(name, declared, given):
    stepper = OneStep(Times(1.0), scale(0.0, 1.0), dt=DT, conditioning=Conditioning(**{name: declared}))
    shape = (1, given) if name == "parameters" else (1, given, 4)
    condition = Condition(**{name: torch.zeros(shape)}) if given else Condition()
    with pytest.raises(ValueError, match=f"`{name}` was declared with {declared} and given with {given} .* Build it"):
        rollout(stepper, torch.zeros(1, 1, 1, 4), 1, dt=DT, condition=condition)


def test_forcing_is_refused():
    with pytest.raises(ValueError, match="`forcing` was declared with 0 and given with 1 .* another stepper"):
        rollout(
            OneStep(Times(1.0), scale(0.0, 1.0), dt=DT),
            torch.zeros(1, 1, 1, 4),
            1,
            dt=DT,
            condition=Condition(forcing=torch.zeros(1, 1, 4)),
        )


def test_another_dt_is_refused():
    stepper = OneStep(SmallNetwork(), scale(0.0, 1.0), dt=DT)
    with pytest.raises(ValueError, match="`dt` must be the one .* 0.2, got 0.1"):
        rollout(stepper, waves(1, 1), 1, dt=0.1)
    with pytest.raises(ValueError, match="`dt` must be the one"):
        stepper.loss(FieldBatch(waves(1, 2), torch.arange(1), 0.4), Key.rows(0, 1))


@pytest.mark.parametrize(
    "arguments, message", [({"dt": 0.0}, "`dt`"), ({"dt": 1.0, "context_frames": 0}, "`context_f")]
)
def test_bad_construction_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        OneStep(SmallNetwork(), scale(0.0, 1.0), **arguments)


def test_network_with_wrong_channels_is_named():
    with pytest.raises(ValueError, match="must take 1 channels .* failed on an input of shape"):
        rollout(OneStep(SmallNetwork(2), scale(0.0, 1.0), dt=DT), waves(1, 1), 1, dt=DT)
    with pytest.raises(ValueError, match=r"must give one channel .* gave \(1, 3, 32\).* 1 output channels"):
        rollout(OneStep(SmallNetwork(1, 3), scale(0.0, 1.0), dt=DT), waves(1, 1), 1, dt=DT)


def test_later_failures_of_the_network_keep_their_kind():
    network = SmallNetwork()
    stepper = OneStep(network, scale(0.0, 1.0), dt=DT)
    rollout(stepper, waves(1, 1), 1, dt=DT)
    network.first = nn.Conv1d(2, 12, 5)
    with pytest.raises(RuntimeError, match="channels"):
        rollout(stepper, waves(1, 1), 1, dt=DT)


def test_channels_must_be_the_normalizers():
    with pytest.raises(ValueError, match=r"`context` must have shape \(batch, 1, 2, \*space\)"):
        rollout(OneStep(SmallNetwork(), Normalizer.identity(2), dt=DT), waves(1, 1), 1, dt=DT)


def test_short_windows_are_refused():
    with pytest.raises(ValueError, match="at least 4 frames .* got 2"):
        OneStep(SmallNetwork(), scale(0.0, 1.0), dt=DT, mode=Unrolled(3)).loss(wave_batch(2, 2), Key.rows(0, 2))


@pytest.mark.parametrize("target", [State(), Increment(scale(0.0, 0.2))])
def test_unrolled_once_is_one_step(target):
    stepper = OneStep(SmallNetwork(), scale(0.0, 1.0), dt=DT, target=target)
    batch = wave_batch(3, 2)
    key = Key(0, batch.ids)
    one, unrolled = (stepper.loss_in(mode, batch, key) for mode in (OneStepMode(0.1), Unrolled(1, noise=0.1)))
    assert torch.equal(one.total, unrolled.total)


def test_unrolled_compares_the_rollout_with_the_truth():
    stepper = OneStep(SmallNetwork(), scale(0.0, 2.0), dt=DT, mode=Unrolled(3))
    batch = wave_batch(3, 4)
    loss = stepper.loss(batch, Key(0, batch.ids))
    errors = ((rollout(stepper, batch.frames[:, :1], 3, dt=DT) - batch.frames[:, 1:]) / 2) ** 2
    assert list(loss.parts) == ["step_1", "step_2", "step_3"]
    torch.testing.assert_close(torch.stack(list(loss.parts.values())), errors.mean(dim=(0, 2, 3)))


def test_cutting_the_gradient_keeps_the_loss_and_changes_the_gradient():
    batch = wave_batch(3, 4)
    stepper = OneStep(SmallNetwork(), scale(0.0, 1.0), dt=DT, mode=Unrolled(3))
    whole, loss = gradients(stepper, batch), stepper.loss(batch, Key(0, batch.ids)).total
    stepper.mode = Unrolled(3, cut_gradient=True)
    cut = gradients(stepper, batch)
    assert torch.equal(stepper.loss(batch, Key(0, batch.ids)).total, loss)
    assert (whole - cut).norm() > 1e-2 * whole.norm()


def test_cut_gradient_is_the_sum_of_single_steps():
    """factor f on constant fields: u_i = f^i, d/df of the mean of (u_i - 1)^2 with inputs held fixed."""
    factor, frames = 0.5, torch.ones(1, 3, 1, 4)
    stepper = OneStep(Times(factor), scale(0.0, 1.0), dt=DT, mode=Unrolled(2, cut_gradient=True))
    gradient = gradients(stepper, FieldBatch(frames, torch.arange(1), DT))
    by_hand = (2 * (factor - 1) * 1 + 2 * (factor**2 - 1) * factor) / 2
    assert gradient.item() == pytest.approx(by_hand)


def test_noise_has_the_stated_size_and_belongs_to_the_key():
    network = Times(0.0)
    stepper = OneStep(network, scale(0.0, 3.0), dt=DT, mode=OneStepMode(noise=0.1))
    batch = FieldBatch(torch.zeros(64, 2, 1, 64), torch.arange(64), DT)
    stepper.loss(batch, Key(0, batch.ids))
    first = network.seen
    assert first.std().item() == pytest.approx(0.1, rel=0.05)
    stepper.loss(batch, Key(0, batch.ids))
    assert torch.equal(first, network.seen)
    stepper.loss(batch, Key(1, batch.ids))
    assert not torch.equal(first, network.seen)


def test_increments_learn_to_take_noise_back():
    """With u(t) noisy, the error of `last + 0` is the noise itself: the target is the clean next frame."""
    stepper = OneStep(Times(0.0), scale(0.0, 1.0), dt=DT, target=Increment(scale(0.0, 1.0)), mode=OneStepMode(0.1))
    batch = FieldBatch(torch.zeros(64, 2, 1, 64), torch.arange(64), DT)
    assert stepper.loss(batch, Key(0, batch.ids)).total.item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("make", [lambda: OneStepMode(-0.1), lambda: Unrolled(2, noise=-1.0)])
def test_negative_noise_is_refused(make):
    with pytest.raises(ValueError, match="`noise` must be at least 0"):
        make()


def test_unrolling_less_than_one_step_is_refused():
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        Unrolled(0)


def test_conditioning_counts_are_checked():
    with pytest.raises(ValueError, match="`static` must be at least 0"):
        Conditioning(static=-1)


def test_curriculum_chooses_by_step():
    curriculum = Curriculum(((0, OneStepMode()), (10, Unrolled(2)), (20, Unrolled(4))))
    assert [curriculum.at(step).steps for step in (0, 9, 10, 19, 20, 99)] == [1, 1, 2, 2, 4, 4]
    assert curriculum.steps == 4


@pytest.mark.parametrize("starts", [(), (1,), (0, 5, 5)])
def test_curriculum_must_start_at_0_and_increase(starts):
    with pytest.raises(ValueError, match="`stages` must start at training step 0"):
        Curriculum(tuple((start, OneStepMode()) for start in starts))


@pytest.mark.parametrize("target", [State(), Increment(scale(0.0, 0.25))])
def test_trained_one_step_beats_persistence(target):
    normalizer = scale(0.0, 1.0)
    stepper = OneStep(SmallNetwork(width=24), normalizer, dt=DT, target=target)
    optimizer = torch.optim.Adam(stepper.parameters(), lr=1e-2)
    for step in range(300):
        batch = wave_batch(16, 2, seed=step)
        optimizer.zero_grad()
        stepper.loss(batch, Key(0, batch.ids)).total.backward()
        optimizer.step()
    truth = waves(16, 11, seed=10_000)
    errors = [
        (rollout(model, truth[:, :1], 10, dt=DT) - truth[:, 1:]).square().mean(dim=(0, 2, 3))
        for model in (stepper, Persistence(normalizer))
    ]
    assert errors[0][0] < errors[1][0] / 50
    assert errors[0][-1] < errors[1][-1] / 10


def test_conserved_mean_stays_and_reaches_the_loss():
    network = torch.nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")
    u = torch.randn(3, 1, 2, 16)
    plain, conserving = (
        OneStep(network, Normalizer.identity(2), dt=0.1, target=Increment(Normalizer.identity(2), conserve_mean=c))
        for c in (False, True)
    )
    key = Key.rows(0, 3)
    after = rollout(conserving, u, 5, dt=0.1)
    assert torch.allclose(after.mean(-1), u.mean(-1).expand(-1, 5, -1), rtol=0, atol=1e-13)
    assert not torch.allclose(rollout(plain, u, 1, dt=0.1).mean(-1), u.mean(-1))
    batch = FieldBatch(torch.cat([u, u], dim=1), torch.arange(3), 0.1)
    assert conserving.loss(batch, key).total.item() < plain.loss(batch, key).total.item()


GRID = Grid(points=(16, 16), extent=(2.0, 2.0))


def noise(*shape: int) -> torch.Tensor:
    return Key.rows(3, shape[0]).normal(*shape[1:])


def test_spectral_criterion_of_order_0_is_the_relative_mean_square():
    truth, error, change = noise(2, 1, 16, 16), 0.1 * noise(2, 1, 16, 16).flip(2), noise(2, 1, 16, 16).flip(3)
    loss = Spectral(GRID, order=0.0)(truth + error, truth, change, torch.tensor(1.7))
    assert loss.item() == pytest.approx(float(error.square().sum() / change.square().sum()), rel=1e-12)


def test_spectral_criterion_of_order_1_weighs_a_mode_by_its_wavenumber():
    x = torch.arange(16.0) / 8  # [0, 2)
    wave = torch.sin(3 * torch.pi * x)[None, None, :, None].expand(1, 1, 16, 16)  # kappa = 3
    unit_wave = torch.cos(torch.pi * x)[None, None, :, None].expand(1, 1, 16, 16)  # kappa = 1
    zero = torch.zeros(1, 1, 16, 16)
    loss = Spectral(GRID, order=1.0)(wave, zero, unit_wave, torch.tensor(1.0))
    assert loss.item() == pytest.approx((1 + 9) / (1 + 1), rel=1e-12)


def test_spectral_criterion_counts_missing_energy_where_phases_do_not_matter():
    truth = noise(2, 1, 16, 16)
    shifted = truth.roll((3, 5), dims=(2, 3))
    criterion, plain = Spectral(GRID, order=0.0, spectrum=2.0), Spectral(GRID, order=0.0)
    one = torch.tensor(1.0)
    assert criterion(shifted, truth, truth, one).item() == pytest.approx(plain(shifted, truth, truth, one).item())
    weaker = criterion(0.1 * truth, truth, truth, one) - plain(0.1 * truth, truth, truth, one)
    assert weaker.item() == pytest.approx(2.0 * 2.0**2, rel=1e-9)  # two decades of energy in every shell


def test_spectral_criterion_trains_a_network_and_leaves_its_state_dict_alone():
    network = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    stepper = OneStep(network, scale(0.0, 1.0), dt=DT, criterion=Spectral(GRID, order=0.5, spectrum=0.3))
    assert set(stepper.state_dict()) == set(OneStep(network, scale(0.0, 1.0), dt=DT).state_dict())
    stepper.loss(FieldBatch(noise(2, 2, 1, 16, 16), torch.arange(2), DT), Key.rows(0, 2)).total.backward()
    gradients = [p.grad for p in network.parameters()]
    assert len(gradients) == 2 and all(g is not None and bool((g != 0).any()) for g in gradients)


@pytest.mark.parametrize("name", ["order", "spectrum"])
def test_bad_spectral_criterion_is_answered(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 0"):
        Spectral(GRID, **{name: -1.0})
