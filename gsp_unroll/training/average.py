"""One gradient for several processes that learn from data of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def average_gradients(
    parameters: Iterable[nn.Parameter], loss: Tensor, count: int, group: ProcessGroup
) -> Tensor:
    r"""Replace gradients by those of the mean loss over the data of all processes.

    .. math:: \nabla=\frac{\sum_rn_r\nabla_r}{\sum_rn_r}

    where the loss of process :math:`r` is a mean over :math:`n_r` values. That is the gradient of
    one process with all the data, to rounding.

    Args:
        parameters: The same in all processes; their ``grad`` is written.
        loss: Mean over the values of this process.
        count: How many values those are; with 0 the gradients of this process do not count.
        group: The processes.

    Returns:
        The mean loss over the values of all processes.
    """
    parameters = list(parameters)
    # One message for all of them.
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    message = torch.cat([loss.detach().view(1), *(grad.flatten() for grad in own)])
    message = torch.cat([message * count, message.new_full((1,), count)])
    torch.distributed.all_reduce(message, group=group)
    message = message[:-1] / message[-1].clamp(min=1)
    pieces = message[1:].split([p.numel() for p in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter).clone()
    return message[0]
