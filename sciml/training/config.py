"""How a model is trained: frozen settings, checked when built."""

from dataclasses import dataclass
from typing import final

from sciml.core.checks import check_at_least, check_positive


@final
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimiser (AdamW), schedule, averaging and how often things happen. A *step* is one update of the weights.

    Args:
        steps: updates in all.
        batch_size: windows per update, over all devices.
        learning_rate: after the warm-up.
        warmup_steps: updates over which the learning rate rises linearly from 0.
        final_learning_rate: at the end of the cosine.
        weight_decay: decoupled weight decay, per unit of learning rate.
        betas: decay of AdamW's first and second moments.
        clip_norm: largest Euclidean norm of a group's gradient; None does not clip.
        ema_decay: decay of the average of the weights per step; 0 keeps the last weights.
        seed: of everything random: noise in losses, dropout.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validations; 0 validates after the last step only.
        log_every: steps between rows of the log, and between checks that the loss is finite.

    Raises:
        ValueError: for a value out of range.
    """

    steps: int
    batch_size: int
    learning_rate: float = 1e-3
    warmup_steps: int = 0
    final_learning_rate: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float | None = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    checkpoint_every: int = 500
    validate_every: int = 0
    log_every: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "log_every"):
            check_at_least(name, getattr(self, name), 1)
        for name in ("warmup_steps", "final_learning_rate", "weight_decay", "validate_every"):
            check_at_least(name, getattr(self, name), 0)
        check_positive("learning_rate", self.learning_rate)
        if self.clip_norm is not None:
            check_positive("clip_norm", self.clip_norm)
        if not self.warmup_steps <= self.steps:
            raise ValueError(
                f"`warmup_steps` must not exceed `steps`, got {self.warmup_steps} > {self.steps}. Lower it."
            )
        if not self.final_learning_rate <= self.learning_rate:
            raise ValueError(
                "`final_learning_rate` must not exceed `learning_rate`, got "
                f"{self.final_learning_rate!r} > {self.learning_rate!r}. Lower it."
            )
        for name, value in (("ema_decay", self.ema_decay), *(("betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise ValueError(f"`{name}` must lie in [0, 1), got {value!r}. Give e.g. 0.99.")


@final
@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where `fit` runs, in Lightning's words; under `torchrun` give `devices` per node and `strategy="ddp"`.

    Args:
        accelerator: `auto`, `cpu`, `gpu`, ...
        devices: how many, on each node.
        num_nodes: how many nodes.
        strategy: `auto`, `ddp`, `fsdp`, ...
        precision: `32-true` leaves dtypes as they are; `bf16-mixed` computes in bfloat16.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
