"""Several processes that train one model, started by torchrun.

Every process computes its share of each batch. A loss is weighted by its share of the batch's images and gradients are
summed, so the cross entropy, the divergences and the orthogonality have exactly the gradient of the whole batch; a loss
that is itself a sum over images (`Stage.summed`) is added as it stands. Focal
and Dice loss are ratios of sums over a whole batch; under sharding, as under accumulation, the sums run over a part
and the ratios are averaged, weighted by images. The two differ as much as the shares of defect pixels of the parts do:
a training with other numbers of processes or parts is another training, close to but not the same as the published one.
The same holds for the authors' weighting of the divergences (`legacy_kl`), which counts the images of a part.
With one process and `accumulate: 1` the sums run over the whole batch.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from medzsad.errors import ConfigError


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a training.

    Attributes:
        rank: Number of this one.
        size: How many there are.
        device: Where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def parts(self, count: int, accumulate: int) -> list[list[int]]:
        """The places in a batch of `count` that this process computes, in `accumulate` parts, some maybe empty."""
        cuts = torch.arange(count).tensor_split(self.size * accumulate)
        return [part.tolist() for part in cuts[self.rank * accumulate : (self.rank + 1) * accumulate]]

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replaces each gradient by its sum over all processes; with one process nothing happens."""
        if self.size == 1:
            return
        found = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = self.sum(torch.cat([gradient.reshape(-1) for gradient in found]))
        for parameter, piece in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
            parameter.grad = piece.reshape(parameter.shape).clone()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in the order of ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found

    def share(self, value: Any) -> Any:
        """The value of the first process."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """The processes that torchrun has started; this one alone without torchrun.

    Args:
        device: The kind of device; with several GPUs each process takes the one of its local rank.

    Raises:
        ConfigError: There are fewer GPUs than processes on this computer.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, device)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"Process {local} has no GPU: there are {torch.cuda.device_count()}. Lower --nproc-per-node."
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()
