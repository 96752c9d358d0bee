"""The one place where training meets Lightning: a thin module that makes one update and reports it."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, final

import lightning.pytorch as lightning
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from sciml.core import Condition, FieldBatch, Key, Loss
from sciml.training.config import TrainConfig
from sciml.training.ema import Average
from sciml.training.objective import AbstractObjective
from sciml.training.schedule import make_optimizer


@final
@dataclass(frozen=True)
class Update:
    """What one update reports: losses by group, norm of the whole gradient before clipping, learning rate."""

    losses: dict[str, Loss]
    gradient_norm: Tensor
    learning_rate: float


@final
class TrainingModule(lightning.LightningModule):
    """Updates the weights of an objective, from the state of an earlier run if one is given.

    The randomness of step n is a function of (seed, n): noise of the loss by key, dropout by reseeding torch.

    Args:
        objective: what is minimised.
        config: how.
        resume_from: `training_state()` of an earlier run, whose weights `objective` already has.
        after_step: called after each update.
    """

    def __init__(
        self,
        objective: AbstractObjective,
        config: TrainConfig,
        resume_from: dict[str, Any] | None,
        after_step: Callable[["TrainingModule", Update], None],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.objective = objective
        self.config = config
        self.step = 0 if resume_from is None else resume_from["step"]
        self._resume_from = resume_from
        self._after_step = after_step
        self._groups = objective.groups()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build optimiser, schedule and average now that the weights are on their device, and restore them."""
        self.optimizer, self.scheduler = make_optimizer(self._groups, self.config)
        self.average = Average(self.objective, self.config.ema_decay)
        if self._resume_from is not None:
            self.optimizer.load_state_dict(self._resume_from["optimizer"])
            self.scheduler.load_state_dict(self._resume_from["scheduler"])
            self.average.load_state_dict(self._resume_from["average"])
            self._resume_from = None
        return self.optimizer

    def training_state(self) -> dict[str, Any]:
        """Everything the next step depends on."""
        return {
            "step": self.step,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "average": self.average.state_dict(),
        }

    def transfer_batch_to_device(self, batch: FieldBatch, device: torch.device, dataloader_idx: int) -> FieldBatch:
        """This device's rows of the batch."""
        return shard(batch, self.trainer.global_rank, self.trainer.world_size).to(device)

    def training_step(self, batch: FieldBatch, batch_idx: int) -> None:
        """One update of every group, all gradients being taken before any weight moves."""
        key = Key(self.config.seed, batch.ids).fold(self.step)
        _reseed(key.seed, self.device)
        losses = self.objective.losses(batch, key, self.step)
        self.optimizer.zero_grad()
        for left, (name, loss) in zip(reversed(range(len(losses))), losses.items(), strict=True):
            self.manual_backward(loss.total, inputs=self._groups[name], retain_graph=left > 0)
        update = Update(losses, self._clip(), self.optimizer.param_groups[0]["lr"])
        self.optimizers().step()  # type: ignore[union-attr]
        self.scheduler.step()
        self.average.update()
        self.step += 1
        self._after_step(self, update)

    def _clip(self) -> Tensor:
        """Clip the gradient of each group and return the norm of all of them before that."""
        norms = []
        for parameters in self._groups.values():
            if self.config.clip_norm is None:
                gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
                norms.append(get_total_norm(gradients))
            else:
                norms.append(clip_grad_norm_(parameters, self.config.clip_norm))
        return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))


def _reseed(seed: int, device: torch.device) -> None:
    """Start torch's generators anew; `torch.manual_seed` does the same at thirty times the cost."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def shard(batch: FieldBatch, rank: int, world: int) -> FieldBatch:
    """The rows of device `rank` out of `world`: every device reads the same batches and keeps its part.

    Raises:
        ValueError: if the rows cannot be shared out equally.
    """
    if world == 1:
        return batch
    rows = len(batch.frames)
    if rows % world != 0:
        raise ValueError(
            f"a batch must divide equally over the devices, got {rows} rows for {world} devices. "
            f"Choose batch_size as a multiple of {world} and drop the last, smaller batch."
        )
    own = slice(rank * rows // world, (rank + 1) * rows // world)
    given = {f.name: getattr(batch.condition, f.name) for f in fields(Condition)}
    tensors = {name: value[own] for name, value in given.items() if isinstance(value, Tensor)}
    return replace(batch, frames=batch.frames[own], ids=batch.ids[own], condition=replace(batch.condition, **tensors))
