"""Which images train, validate and test."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from science.params import Params


class SplitParams(Params):
    """Which images train, validate and test a model.

    Every image gets its tier from its own checksum and the seed, so the same image has the same
    tier in every recording, whatever else was shown (microns_vei 4.3, seeded).

    Attributes
    ----------
    method : {'repeated', 'random', 'kfold'}
        `repeated`: images shown more than once are the test tier. `random`: a fraction of the
        images is. `kfold`: images are dealt into `n_folds` and one fold is the test tier.
    validation_fraction : float
        Fraction of the images outside the test tier that validate.
    test_fraction : float
        For `random` only.
    n_folds, fold : int
        For `kfold` only; `fold` counts from 0.
    """

    method: Literal["repeated", "random", "kfold"] = "repeated"
    seed: int = Field(0, ge=0)
    validation_fraction: float = Field(0.1, gt=0.0, lt=1.0)
    test_fraction: float = Field(0.1, gt=0.0, lt=1.0)
    n_folds: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fold_exists(self) -> "SplitParams":
        if self.fold >= self.n_folds:
            raise ValueError(f"fold={self.fold} does not exist: folds are 0 to {self.n_folds - 1}")
        return self


def _uniform(label: str, image_sha256: str) -> float:
    """Return a number in [0, 1) that depends on the label and the image only."""
    digest = hashlib.sha256(f"{label}:{image_sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def assign_tiers(
    image_sha256: Sequence[str], n_presentations: Sequence[int], params: SplitParams
) -> list[str]:
    """Assign each image to a tier.

    Parameters
    ----------
    image_sha256 : sequence of str, (n_images,)
        Checksum of each image's pixels.
    n_presentations : sequence of int, (n_images,)
        How often each image was shown.
    params : SplitParams

    Returns
    -------
    list of str, (n_images,)
        'train', 'validation' or 'test'.

    Raises
    ------
    ValueError
        If a tier that training needs (train, validation) stays empty.

    Examples
    --------
    Images shown more than once test.

    >>> checksums = [f"{i:064x}" for i in range(50)]
    >>> tiers = assign_tiers(checksums, [4] * 10 + [1] * 40, SplitParams(method="repeated"))
    >>> tiers[:10] == ["test"] * 10, "test" in tiers[10:]
    (True, False)
    """
    sample = f"{params.method}:{params.seed}"

    def is_test(sha: str, n: int) -> bool:
        if params.method == "repeated":
            return n > 1
        u = _uniform(f"test:{sample}", sha)
        if params.method == "random":
            return u < params.test_fraction
        return int(u * params.n_folds) == params.fold

    tiers = [
        "test"
        if is_test(sha, n)
        else "validation"
        if _uniform(f"validation:{sample}", sha) < params.validation_fraction
        else "train"
        for sha, n in zip(image_sha256, n_presentations, strict=True)
    ]
    for tier in ("train", "validation"):
        if tier not in tiers:
            raise ValueError(
                f"no image is left for the {tier} tier: {len(tiers)} images, of which "
                f"{tiers.count('test')} are the test tier under method '{params.method}'. "
                "Choose another split: for recordings in which every image is repeated, "
                "'kfold' or 'random'."
            )
    return tiers
