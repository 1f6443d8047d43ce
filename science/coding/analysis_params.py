"""What is computed of trained efficient codes (neural_vae 7)."""

from typing import Self

from pydantic import Field, model_validator

from science.params import Params


class CodeAnalysisParams(Params):
    """How trained codes are analysed; the defaults are those of the original.

    Attributes
    ----------
    n_stimuli : int
        Drawn from the prior and sorted: the same for all codes.
    window : int
        Of the moving averages of error and stimulus that power laws are fitted to.
    n_grid : int
        Stimuli at which curves are stored, evenly spaced quantiles of those drawn, with the
        smallest and the largest.
    seed : int
        Of the stimuli and of bootstraps.
    """

    n_stimuli: int = Field(10000, ge=2)
    window: int = Field(700, ge=1)
    n_grid: int = Field(200, ge=2)
    seed: int = Field(0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.window > self.n_stimuli:
            raise ValueError(f"a window of {self.window} is longer than {self.n_stimuli} stimuli")
        return self
