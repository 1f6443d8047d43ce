"""Responses of each image's own unit: what image synthesis and masks ascend and measure."""

from collections.abc import Sequence

import torch
from torch import Tensor

from science.model.ensemble import Ensemble


class OwnUnits:
    """The i-th image through the i-th unit of a block.

    Parameters
    ----------
    ensemble : Ensemble
    columns : sequence of (str, int), (m,)
        Readout key and readout column of each unit of the block.
    """

    def __init__(self, ensemble: Ensemble, columns: Sequence[tuple[str, int]]) -> None:
        self.ensemble = ensemble
        self.keys = list(dict.fromkeys(key for key, _ in columns))
        self.key_of_unit = torch.tensor([self.keys.index(key) for key, _ in columns])
        self.column_of_unit = torch.tensor([column for _, column in columns])

    def __call__(self, images: Tensor, units: Tensor | None = None) -> Tensor:
        """Return responses (k,) to z-scored images (k, 1, h, w).

        Parameters
        ----------
        units : int64 tensor, (k,), optional
            Which unit of the block each image belongs to; by default all, in order.
        """
        units = torch.arange(len(self.key_of_unit)) if units is None else units.cpu()
        columns = self.column_of_unit[units].to(images.device)
        if len(self.keys) == 1:
            return self.ensemble.respond(images, self.keys[0], columns)
        responses = images.new_zeros(len(images))
        for index, key in enumerate(self.keys):
            here = torch.nonzero(self.key_of_unit[units] == index).flatten().to(images.device)
            if len(here):
                own = self.ensemble.respond(images[here], key, columns[here])
                responses = responses.index_put((here,), own)
        return responses
