"""Fits of recordings under one set of parameters, against the functions called one by one."""

import numpy as np
import pytest

from science.dataset import Recording
from science.neural_fit import (
    ALPHA_RNG,
    L1_RATIO_RNG_SHORT,
    elastic_net_search,
    get_fits,
    kwargs_per_cell,
    noise_corrected_fits,
    unit_concat,
)
from science.neural_fit.config import ElasticNetGrid, NeuralMapParams
from science.neural_fit.dataset_fits import consistency, model_fits
from science.neural_fit.recorded_cells import RecordedCells, image_cells

GRID = ElasticNetGrid(alphas=(0.1, 1.0, 10.0), l1_ratios=(0.0, 0.5))


def recording(animal, n_cells, seed, shape=(6, 7), n_trials=4, noise=0.7):
    """Cells of an animal that share three maps with all others, in noisy trials."""
    shared = np.random.default_rng(0).normal(size=(*shape, 3))
    rng = np.random.default_rng([7, seed])
    signal = shared @ rng.normal(size=(3, n_cells))
    trials = signal + noise * rng.normal(size=(n_trials, *shape, n_cells))
    return RecordedCells(animal, trials.mean(0), trials)


# one animal in two recordings, another one between them
RECORDINGS = [recording("a", 3, 1), recording("b", 4, 2), recording("a", 2, 3)]
A_FIRST = [0, 1, 2, 7, 8, 3, 4, 5, 6]  # their cells, animal by animal


def as_dictionary(recordings=RECORDINGS):
    first, second, third = (r.responses for r in recordings)
    return {
        "box": {
            "a": {"resp": np.concatenate([first, third], axis=-1), "cell_ids": [0, 1, 2, 7, 8]},
            "b": {"resp": second, "cell_ids": [3, 4, 5, 6]},
        }
    }


def test_parameters_survive_json_and_names_stand_for_the_grids_of_the_original():
    params = NeuralMapParams(map={"map_type": "pls", "n_components": 3}, train_frac="quad")
    assert NeuralMapParams.model_validate_json(params.model_dump_json()) == params
    searching = NeuralMapParams(search=ElasticNetGrid(alphas="long"))
    assert NeuralMapParams.model_validate_json(searching.model_dump_json()) == searching
    np.testing.assert_array_equal(searching.search.alpha_values, ALPHA_RNG)
    np.testing.assert_array_equal(searching.search.l1_ratio_values, L1_RATIO_RNG_SHORT)
    np.testing.assert_array_equal(GRID.l1_ratio_values, [0.0, 0.5])


@pytest.mark.parametrize(
    "wrong",
    [
        {"train_frac": 0.0},
        {"train_frac": 1.0},
        {"train_frac": "half"},
        {"train_frac": float("nan")},
        {"n_splits": 0},
        {"n_halvings": -1},
        {"reliability_of": "none"},
        {"map": {"map_type": "pls"}},
        {"map": {"map_type": "corr"}, "search": GRID},
        {"search": {"alphas": ()}},
        {"search": {"alphas": (0.0,)}},
        {"search": {"l1_ratios": (1.1,)}},
        {"search": {"l1_ratios": "all"}},
        {"search": {"n_folds": 1}},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NeuralMapParams(**wrong)


@pytest.mark.parametrize("mode", ["holdout", "pairwise"])
def test_recordings_of_one_animal_are_fitted_together(mode):
    params = NeuralMapParams(map={"map_type": "corr"}, train_frac=0.4, n_splits=3, start_seed=5)
    fits = consistency("box", RECORDINGS, params, mode)
    expected = unit_concat(
        get_fits(as_dictionary(), None, None, "corr", {}, 0.4, 3, 5, mode), "box"
    )
    np.testing.assert_array_equal(fits.corr[A_FIRST], expected.corr)
    np.testing.assert_array_equal(fits.corr_per_split[:, A_FIRST], expected.corr_per_split)
    assert fits.n_conditions.tolist() == [42] * 9
    assert fits.penalties is None and np.isnan(fits.corrected).all()
    assert fits.median == np.median(expected.corr)


def test_parts_of_an_arena_that_is_no_square_are_those_of_its_shape():
    fits = consistency("box", RECORDINGS, NeuralMapParams(train_frac="topbottom"))
    expected = unit_concat(
        get_fits(as_dictionary(), train_frac="topbottom", shape_2d=(6, 7)), "box"
    )
    np.testing.assert_array_equal(fits.corr[A_FIRST], expected.corr)


def test_penalties_chosen_by_other_animals_are_those_of_the_model_too():
    params = NeuralMapParams(search=GRID, train_frac=0.5, n_splits=2)
    search = {"alphas": GRID.alpha_values, "l1_ratios": GRID.l1_ratio_values}
    choices = elastic_net_search(as_dictionary(), "box", 0.5, 2, **search)
    own = {"train_frac": 0.5, "num_train_test_splits": 2}
    own["map_kwargs_per_cell"] = kwargs_per_cell(choices)
    found = consistency("box", RECORDINGS, params)
    expected = unit_concat(get_fits(as_dictionary(), **own), "box")
    np.testing.assert_array_equal(found.corr_per_split[:, A_FIRST], expected.corr_per_split)
    alpha = np.concatenate([choice.alpha for choice in choices.values()], axis=1)
    np.testing.assert_array_equal(found.penalties.alpha[:, A_FIRST], alpha)
    assert len(np.unique(alpha)) > 1
    units = recording("model", 5, 9).responses
    of_model = model_fits("box", RECORDINGS, units, params, found.penalties)
    expected = unit_concat(get_fits(as_dictionary(), units, **own), "box")
    np.testing.assert_array_equal(of_model.corr_per_split[:, A_FIRST], expected.corr_per_split)


@pytest.mark.parametrize("search", [None, GRID])
def test_the_correction_takes_the_trials_of_all_other_animals(search):
    params = NeuralMapParams(search=search, train_frac=0.5, n_splits=2, n_halvings=3)
    found = consistency("box", RECORDINGS, params)
    trials = np.concatenate([r.trials.reshape(4, 42, -1) for r in RECORDINGS], axis=-1)
    own = [0, 1, 2, 7, 8]
    common = {"train_frac": 0.5, "num_train_test_splits": 2, "n_halvings": 3}
    per_cell = found.penalties.per_cell if search else {cell: {} for cell in own}
    expected = [
        noise_corrected_fits(
            trials[..., 3:7], trials[..., [cell]], **common, **per_cell[cell]
        ).corr[0]
        for cell in own
    ]
    np.testing.assert_allclose(found.corrected[own], expected, rtol=0, atol=1e-12)
    assert np.isnan(
        consistency("box", [*RECORDINGS[:2], bare(RECORDINGS[2])], params).corrected
    ).all()


def bare(recorded):
    return RecordedCells(recorded.animal, recorded.responses)


def test_a_model_with_the_true_maps_explains_all_but_the_noise():
    shared = np.random.default_rng(0).normal(size=(6, 7, 3))
    params = NeuralMapParams(train_frac=0.5, n_halvings=20, reliability_of="halves")
    fits = model_fits("box", RECORDINGS, shared, params)
    assert 0.85 < fits.median < 0.99
    assert np.median(fits.corrected) == pytest.approx(1, abs=0.03)


def test_bins_must_agree():
    with pytest.raises(ValueError, match=r"maps of \(6, 7\) bins, but 'b' of \(7, 6\)"):
        consistency("box", [RECORDINGS[0], recording("b", 2, 2, (7, 6))], NeuralMapParams())
    with pytest.raises(ValueError, match=r"maps of \(7, 6\) bins, but the animals .* \(6, 7\)"):
        model_fits("box", RECORDINGS, np.ones((7, 6, 4)), NeuralMapParams())


def test_what_cannot_be_done_with_recordings_says_why():
    searching = NeuralMapParams(search=GRID)
    with pytest.raises(ValueError, match="use 'holdout', or no search"):
        consistency("box", RECORDINGS, searching, "pairwise")
    with pytest.raises(ValueError, match="give the penalties"):
        model_fits("box", RECORDINGS, np.ones((6, 7, 4)), searching)
    holed = recording("c", 2, 4)
    holed.trials[0, :3], holed.trials[1, 3:] = np.nan, np.nan
    with pytest.raises(ValueError, match=r"no bin .* in every trial: use fewer segments"):
        consistency("box", [*RECORDINGS, holed], NeuralMapParams(n_halvings=1))


def test_images_are_fitted_once_by_their_means_and_repeats_are_their_trials():
    rng = np.random.default_rng(1)
    shown = np.array([4, 0, 3, 3, 0, 4, 3, 1, 4])
    recorded = Recording(
        frames=rng.uniform(0, 255, (5, 2, 3)).astype(np.float32),
        tiers=np.array(["test", "train", "test", "test", "test"]),
        image_index=shown,
        responses=rng.poisson(5, (9, 2)).astype(np.float32),
    )
    images, cells = image_cells(recorded, "1-1-1", "test")
    np.testing.assert_array_equal(images, recorded.frames[[0, 3, 4]])
    for image, mean in zip((0, 3, 4), cells.responses, strict=True):
        np.testing.assert_allclose(mean, recorded.responses[shown == image].mean(0))
    assert cells.trials.shape == (2, 3, 2)
    for image, trials in zip((0, 3, 4), cells.trials.swapaxes(0, 1), strict=True):
        np.testing.assert_array_equal(trials, recorded.responses[shown == image][:2])
    images, cells = image_cells(recorded, "1-1-1", "all")
    assert len(images) == 4 and cells.trials is None
    with pytest.raises(ValueError, match="'1-1-1' has no images of tier 'validation'"):
        image_cells(recorded, "1-1-1", "validation")
