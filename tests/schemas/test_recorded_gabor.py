"""The recorded Gabors of a small recording that shows images and Gabors, as the Allen ones do."""

import numpy as np
import pandas as pd
import pytest
from miniature import STUDY, images, insert_scan
from miniature import study as small_study

from pipeline.ingest.scan import Images, ScanArrays, Source, TrialResponses, Trials, Units
from pipeline.report.unit_facts import facts
from pipeline.report.unit_rows import unit_rows
from pipeline.study import register
from schemas.graph import STEPS
from schemas.mei import MEI, TargetModel
from schemas.recorded_gabor import RecordedGabor
from science.digest import array_digest
from science.image_statistics import contrast, luminance, symmetry_indices
from science.recorded_gabors import RecordedGaborParams, recorded_gabors

N_IMAGES, ORIENTATIONS = 40, np.array([0.0, 45.0, 90.0, 135.0])
SHOWN_GABORS = np.tile(np.arange(4), 5)
DRAWN = {"wavelength": 16.0, "sigma": 12.0}  # coarse enough for 24 x 40 pixels


def recording(key, with_gabors=True):
    """40 images, six of them three times, then 20 presentations of 4 Gabors; 4 units."""
    rng = np.random.default_rng(9)
    shown = rng.permutation(np.repeat(np.arange(N_IMAGES), np.where(np.arange(40) < 6, 3, 1)))
    pixels, classes = images(N_IMAGES, 90), np.full(N_IMAGES, "natural_scenes")
    params = [{}] * N_IMAGES
    if with_gabors:
        shown = np.concatenate([shown, N_IMAGES + SHOWN_GABORS])
        pixels = np.concatenate([pixels, images(4, 91)])
        classes = np.concatenate([classes, np.full(4, "gabor")])
        params = params + [{"orientation": angle} for angle in ORIENTATIONS]
    responses = rng.poisson(3.0, (len(shown), 4)).astype(np.float32)
    scan = ScanArrays(
        images=Images(pixels, classes, params=params),
        trials=Trials(shown),
        activity=TrialResponses(responses),
        units=Units(np.array([11, 12, 15, 19])),
    )
    insert_scan(key, scan, Source("test", "1", "test", None, array_digest(pixels, responses)))
    return responses[-20:]


def computed(key, **changes):
    asked = small_study(
        data={"image_classes": ("natural_scenes",)},
        models={"cnn": STUDY["models"]["cnn"] | {"seeds": (3,)}},
        controls=None,
        diverse=None,
        surround=None,
        recorded_gabors=DRAWN,
        **changes,
    )
    training_set = register(asked, [key])["training_set"]
    for step in STEPS:
        if step.table is not RecordedGabor:
            step.table.populate()
    return training_set


def test_the_best_recorded_gabors_are_drawn_and_described(recordings):
    key = recordings.key()
    counts = recording(key)
    training_set = computed(key)
    RecordedGabor.populate(training_set)
    rows = (RecordedGabor.Unit * MEI.Unit & training_set).to_dicts(order_by="unit_index")
    alive = MEI.Unit & training_set & "mei_status = 'ok'"
    assert len(rows) == len(alive) >= 1
    expected = recorded_gabors(counts, ORIENTATIONS[SHOWN_GABORS], RecordedGaborParams(**DRAWN))
    for row in rows:
        drawn, own = row["recorded_gabor"], expected[row["unit_index"]]
        assert drawn.shape == (24, 40) and 0 <= drawn.min() < drawn.max() <= 255
        down, across = (np.linspace(0, n - 1, m) for n, m in ((60, 24), (96, 40)))
        sampled = own[np.ix_(np.rint(down).astype(int), np.rint(across).astype(int))]
        assert np.corrcoef(sampled.ravel(), drawn.ravel())[0, 1] > 0.95
        assert row["gabor_luminance"] == pytest.approx(luminance(drawn[None] / 255)[0], rel=1e-4)
        mei = row["mei"][None] / 255
        assert row["mei_luminance"] == pytest.approx(luminance(mei)[0], rel=1e-4)
        assert row["mei_disc_contrast"] == pytest.approx(contrast(mei)[0], rel=1e-4)
        symmetry = symmetry_indices(mei)[0]
        assert [row["mei_symmetry_1"], row["mei_symmetry_2"]] == pytest.approx(symmetry, rel=1e-4)
    (run,) = (TargetModel & training_set).to_dicts()
    unit = rows[0]["unit_index"]
    shown = unit_rows(run, None, [unit])[unit]
    said = facts(pd.Series({"ensemble_validation_corr": 0.5}), shown)["Recorded Gabors"]
    luminances = f"{rows[0]['mei_luminance']:.3f} and {rows[0]['gabor_luminance']:.3f}"
    assert said["luminance, MEI and Gabor"] == luminances and len(said) == 4
    recordings.delete()


def test_a_recording_without_gabors_says_so(recordings):
    key = recordings.key()
    recording(key, with_gabors=False)
    training_set = computed(key)
    with pytest.raises(ValueError, match="shows no Gabors"):
        RecordedGabor.populate(training_set)
    RecordedGabor().jobs.delete_quick()
    recordings.delete()
