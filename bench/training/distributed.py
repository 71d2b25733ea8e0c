"""Several processes at one training: torch's DistributedDataParallel, launched by `torchrun`.

Every process computes its share of each batch and weighs each term of the loss by its share of
what the term is a mean over, so that the averaged gradient is that of one process with the whole
batch (undecided pixels make plain averages differ). That holds where a batch's result is the sum
of its episodes': methods with running statistics are refused.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.contract import EpisodeBatch, LossTerm
from cdfss_bench.methods.core.method import Method

UNDECIDED = 255


@dataclass(frozen=True, slots=True)
class Processes:
    """Who computes what.

    Attributes:
        rank: of this process, from 0; the first one writes files and speaks.
        count: of all processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def rows(self, rows: Sequence[int]) -> Sequence[int]:
        """This process's share of a batch.

        A process for which nothing is left computes the first row, which then counts nothing.
        """
        return rows[self.rank :: self.count] or rows[:1]


@contextmanager
def joined(device: str) -> Generator[tuple[Processes, str]]:
    """The group that `torchrun` started, and this process's device; alone where there is none.

    Raises:
        UserError: if there are fewer GPUs than processes.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        yield Processes(), device
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = device.startswith("cuda")
    if on_gpu:
        if local >= torch.cuda.device_count():
            raise UserError(
                f"process {local} has no GPU: this machine has {torch.cuda.device_count()}",
                hint="start as many processes as there are GPUs (torchrun --nproc-per-node)",
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    # The others wait for the first one while it validates.
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(hours=6))
    try:
        yield Processes(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()


class Objective(nn.Module):
    """The loss of one batch, or of this process's share of it.

    Args:
        network: what is trained.
        processes: that share each batch.
        precision: `fp32`, or `bf16` for torch's automatic mixed precision.
    """

    def __init__(self, network: Method, processes: Processes, precision: str = "fp32"):
        super().__init__()
        self.network = network
        self.processes = processes
        self.mixed = precision == "bf16"

    def forward(self, batch: EpisodeBatch, rows: int) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The objective and its unweighted terms; None where the method only looks.

        Args:
            batch: this process's share.
            rows: episodes of the whole batch.
        """
        device = batch.query_images.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.mixed):
            terms = self.network.loss_terms(batch)
        if not terms:
            return None, {}
        if self.processes.count > 1:
            terms = self._shared(terms, batch, rows)
        weighted = [term.weight * term.value.float() for term in terms.values()]
        values = {name: term.value.detach().float() for name, term in terms.items()}
        return torch.stack(weighted).sum(), values

    def _shared(
        self, terms: Mapping[str, LossTerm], batch: EpisodeBatch, rows: int
    ) -> dict[str, LossTerm]:
        """Each term times its share of the whole batch, times the processes (DDP averages)."""
        is_idle = self.processes.rank >= rows
        mine = torch.stack(
            [
                (batch.query_masks != UNDECIDED).sum(),
                (batch.support_masks != UNDECIDED).sum(),
                torch.as_tensor(len(batch.query_masks), device=batch.query_masks.device),
            ]
        ).double() * (0.0 if is_idle else 1.0)
        whole = mine.clone()
        dist.all_reduce(whole)
        share = (self.processes.count * mine / whole.clamp_min(1)).float()
        scale = dict(zip(("queries", "supports", "episodes"), share, strict=True))
        return {
            name: LossTerm(term.weight, term.value * scale[term.over], term.over)
            for name, term in terms.items()
        }


def wrapped(objective: Objective, processes: Processes) -> nn.Module:
    """`objective`, its gradients averaged over the processes where there are several.

    Raises:
        UserError: for a method whose batches are more than the sum of their episodes.
    """
    if processes.count == 1:
        return objective
    if objective.network.keeps_statistics:
        raise UserError(
            f"{type(objective.network).__name__} keeps running statistics of its batches, which "
            "several processes would see parts of",
            hint="train it in one process",
        )
    return cast("nn.Module", DistributedDataParallel(objective, find_unused_parameters=True))


def mean_over_processes(values: Mapping[str, Tensor], processes: Processes) -> dict[str, float]:
    """Each value averaged over the processes."""
    if processes.count > 1 and values:
        stacked = torch.stack(list(values.values()))
        dist.all_reduce(stacked)
        return dict(zip(values, (stacked / processes.count).tolist(), strict=True))
    return {name: float(value) for name, value in values.items()}
