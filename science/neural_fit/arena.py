"""The animals of one arena, checked: rate maps as (bins, cells), and which bins they share."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.neural_fit.responses import Floats

Bins = NDArray[np.bool_]
Dataset = Mapping[Hashable, Mapping[Hashable, Mapping[str, ArrayLike]]]


def flat_map(responses: ArrayLike) -> Floats:
    """Flatten rate maps (nx, ny, cells) to (nx * ny, cells); (bins, cells) stay.

    Raises
    ------
    ValueError
        Any other shape.
    """
    responses = np.asarray(responses, np.float64)
    if responses.ndim not in (2, 3):
        raise ValueError(
            f"responses must be (nx, ny, cells) or (bins, cells), not {responses.shape}"
        )
    return responses.reshape(np.prod(responses.shape[:-1], dtype=int), responses.shape[-1])


@dataclass(frozen=True)
class Animals:
    """Animals that were recorded in the same bins of one arena.

    Attributes
    ----------
    arena : hashable
    responses : dict of animal to float64, (n_bins, n_cells)
    cell_ids : dict of animal to (n_cells,)
    shape : tuple of int
        Of the rate maps as they were given.
    """

    arena: Hashable
    responses: dict[Hashable, Floats]
    cell_ids: dict[Hashable, NDArray[Any]]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, dataset: Dataset, arena: Hashable) -> "Animals":
        """Take the animals of an arena (mec 8.1).

        Raises
        ------
        ValueError
            An unknown arena; an animal without responses, or of other bins than the first;
            `cell_ids` that do not fit.
        """
        if arena not in dataset:
            raise ValueError(f"the dataset has no arena {arena!r}: it has {list(dataset)}")
        responses, cell_ids, shapes = {}, {}, {}
        for animal, recorded in dataset[arena].items():
            where = f"animal {animal!r} in arena {arena!r}"
            if not {"resp", "cell_ids"} <= set(recorded or ()):
                raise ValueError(f"{where} has no data: give 'resp' and 'cell_ids' or leave it out")
            responses[animal] = flat_map(recorded["resp"])
            cell_ids[animal] = np.asarray(recorded["cell_ids"])
            shapes[animal] = np.shape(recorded["resp"])[:-1]
            if not responses[animal].size:
                raise ValueError(
                    f"{where} has no data, but {np.shape(recorded['resp'])}: leave it out"
                )
            if cell_ids[animal].shape != responses[animal].shape[1:]:
                raise ValueError(
                    f"{where} has {responses[animal].shape[1]} cells, but cell_ids are "
                    f"{cell_ids[animal].shape}"
                )
        if not responses:
            raise ValueError(f"arena {arena!r} has no animals")
        shape = next(iter(shapes.values()))
        for animal, other in shapes.items():
            if other != shape:
                raise ValueError(
                    f"animals of arena {arena!r} have maps of {shape} bins, but {animal!r} of "
                    f"{other}: bin them alike"
                )
        return cls(arena, responses, cell_ids, shape)

    @cached_property
    def _finite(self) -> dict[Hashable, Bins]:
        return {a: np.isfinite(responses).all(1) for a, responses in self.responses.items()}

    def needing_others(self) -> "Animals":
        """Return these animals if they can predict each other."""
        if len(self.responses) < 2:
            raise ValueError(
                f"arena {self.arena!r} has one animal only ({next(iter(self.responses))!r}), which "
                "no other can predict: leave the arena out, or give model_resp"
            )
        return self

    def others(self) -> Iterator[tuple[Floats, list[Hashable]]]:
        """For each animal: the cells of all others, in the order of the dataset, and its name."""
        for animal in self.responses:
            others = [r for other, r in self.responses.items() if other != animal]
            yield np.concatenate(others, axis=1), [animal]

    def predicted_by(self, model_resp: ArrayLike) -> tuple[Floats, list[Hashable]]:
        """Responses of a model (n_bins, n_units) and the names of all animals.

        Raises
        ------
        ValueError
            If the bins of the model are not those of the animals.
        """
        model = flat_map(model_resp)
        n_bins = int(np.prod(self.shape))
        if len(model) != n_bins:
            raise ValueError(
                f"model_resp has {len(model)} bins {np.shape(model_resp)}, but the maps of arena "
                f"{self.arena!r} have {n_bins} {self.shape}: bin them alike"
            )
        return model, list(self.responses)

    def kept(
        self, source: Floats, targets: Sequence[Hashable]
    ) -> Iterator[tuple[Bins, list[Hashable]]]:
        """Group target animals by the bins where the source and all their cells are finite."""
        finite = np.isfinite(source).all(1)
        groups: dict[bytes, list[Hashable]] = {}
        for animal in targets:
            bins = finite & self._finite[animal]
            self._check(bins, animal)
            groups.setdefault(bins.tobytes(), []).append(animal)
        for bins, group in groups.items():
            yield np.frombuffer(bins, bool), group

    def kept_by_cell(self, source: Floats, animal: Hashable) -> NDArray[np.bool_]:
        """Mark for each cell of an animal the bins where it and the source are finite.

        Returns
        -------
        bool, (n_cells, n_bins)
        """
        kept = np.isfinite(self.responses[animal].T) & np.isfinite(source).all(1)
        self._check(kept.any(1), animal)
        return kept

    def _check(self, kept: NDArray[np.bool_], animal: Hashable) -> None:
        if not kept.any():
            raise ValueError(
                f"no bin of arena {self.arena!r} is finite in all cells of {animal!r} and of what "
                "predicts it: leave out cells and units whose maps are NaN"
            )
