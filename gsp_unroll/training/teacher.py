"""Learn from another method as well as from the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from gsp_unroll.evaluation.methods import resolve_method
from gsp_unroll.observe import Task


class Teacher:
    r"""What a network should have said instead of the truth: the truth, drawn to another estimate.

    .. math:: t=(1-a)\,x+a\,\hat x

    with the truth :math:`x`, the estimate :math:`\hat x` of the teacher, and its share :math:`a`.
    A truth holds detail that its samples do not tell; the estimate of a good method does not, and
    it knows of the images that the method was trained on (distillation; Hinton, Vinyals and Dean,
    2015). What the teacher does less well is learned, too.

    Args:
        method: A name as ``evaluate --methods`` knows them, or the path of weights.
        share: ``a``, in (0, 1].
        task: What is observed.
        device: Where the teacher runs.

    Raises:
        MethodError: If there is no such method, or it cannot do the task.
    """

    def __init__(self, method: str, share: float, task: Task, device: torch.device) -> None:
        self.share = share
        self._method = resolve_method(method, task, device)

    @torch.no_grad()
    def correction(self, y: Tensor, mask: Tensor, truth: Tensor) -> Tensor:
        """``t - x`` for a batch of images ``[B, C, H, W]``, zero at the samples.

        Args:
            y: Samples.
            mask: Boolean, ``True`` = observed.
            truth: The true images.
        """
        pairs = zip(y, mask, strict=True)
        estimate = torch.stack([self._method.restore(*pair) for pair in pairs])
        return torch.where(mask, 0, self.share * (estimate.to(truth) - truth))
