"""Adam with a learning rate for each of many models."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamOfModels(torch.optim.Optimizer):
    """`torch.optim.Adam` for parameters whose first axis is the model.

    All parameters are updated as one matrix, models by values: small tensors cost more in calls
    than in numbers. The state is that of the first parameter.

    Parameters
    ----------
    parameters : iterable of nn.Parameter
        (K, ...) each.
    learning_rates : Tensor, (K,)
        One per model.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rates: Tensor) -> None:
        super().__init__(parameters, {"lr": learning_rates})

    @torch.no_grad()
    def step(self) -> None:
        """Make a step from the gradients."""
        beta1, beta2 = BETAS
        for group in self.param_groups:
            parameters, rates = group["params"], group["lr"]
            gradient = torch.cat([p.grad.reshape(len(rates), -1) for p in parameters], 1)
            state = self.state[parameters[0]]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["mean"], state["square"] = (
                    torch.zeros_like(gradient).expand(2, -1, -1).clone()
                )
            state["step"] += 1
            step, mean, square = state["step"].item(), state["mean"], state["square"]
            mean.lerp_(gradient, 1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            scale = square.sqrt().div_((1 - beta2**step) ** 0.5).add_(EPSILON)
            sizes = (rates / (beta1**step - 1)).to(gradient)
            update = (mean * sizes[:, None]).div_(scale)
            parts = update.split([p[0].numel() for p in parameters], 1)
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.add_(part.view_as(parameter))
