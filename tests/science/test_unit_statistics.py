"""Unit statistics against pandas, scipy and scikit-learn, one unit at a time (allen_mei 2)."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.ensemble import IsolationForest

from science import blocks
from science.unit_statistics import unit_statistics


def recorded(n_units=12, seed=0):
    """Spike counts of unequal repeats, in no order; unit 3 is constant."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.repeat(np.arange(25) * 2, rng.integers(1, 6, 25)))
    common = rng.gamma(2, 1, 50)[index][:, None]
    responses = rng.poisson(common * rng.random(n_units) + 0.5).astype(np.float32)
    responses[:, 3] = 2
    return responses, index


@pytest.mark.parametrize("block", [blocks.BLOCK_VALUES, 130])
def test_statistics_are_those_of_the_plain_libraries(block, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", block)
    responses, index = recorded()
    measured = unit_statistics(responses, index)
    means = pd.DataFrame(responses.astype(float)).groupby(index).mean()
    corr = means.corr()
    for unit in means:
        counts = means[unit].value_counts()
        assert measured["entropy"][unit] == pytest.approx(stats.entropy(counts), abs=1e-12)
        assert measured["response_variance"][unit] == pytest.approx(means[unit].var(), abs=1e-12)
        others = corr[unit].drop(unit).dropna()
        if unit == 3:
            assert np.isnan([measured[f"{e}_correlation"][3] for e in ("highest", "lowest")]).all()
            assert measured["highest_unit"][3] == measured["lowest_unit"][3] == -1
            continue
        assert measured["highest_correlation"][unit] == pytest.approx(others.max())
        assert measured["highest_unit"][unit] == others.idxmax()
        assert measured["lowest_correlation"][unit] == pytest.approx(others.min())
        assert measured["lowest_unit"][unit] == others.idxmin()
    forest = IsolationForest(n_estimators=100, contamination="auto", random_state=42)
    label = forest.fit_predict(means.T.to_numpy())
    np.testing.assert_array_equal(measured["anomaly_label"], label)
    np.testing.assert_allclose(
        measured["anomaly_score"], forest.decision_function(means.T.to_numpy()), atol=1e-12
    )


def test_an_odd_unit_is_anomalous():
    rng = np.random.default_rng(1)
    index = np.repeat(np.arange(40), 5)
    responses = rng.poisson(1.0, (200, 60)).astype(np.float32)
    responses[:, 7] = rng.poisson(20 * rng.random(40)[index])  # varied, and unlike all others
    measured = unit_statistics(responses, index)
    assert measured["anomaly_score"].argmin() == 7
    assert measured["anomaly_label"][7] == -1
    assert measured["entropy"].argmax() == 7
    assert measured["response_variance"].argmax() == 7


@pytest.mark.parametrize(
    ("values", "entropy"),
    [([1, 1, 1, 1], 0), ([1, 2, 3, 4], np.log(4)), ([0, 0, 1, 1], np.log(2))],
)
def test_entropy_is_in_nats(values, entropy):
    responses = np.array(values, np.float32)[:, None]
    assert unit_statistics(responses, np.arange(4))["entropy"] == pytest.approx(entropy)


def test_a_unit_alone_and_an_image_alone_have_no_company():
    alone = unit_statistics(*((r := recorded())[0][:, :1], r[1]))
    assert np.isnan(alone["highest_correlation"]).all() and (alone["lowest_unit"] == -1).all()
    once = unit_statistics(np.ones((3, 2), np.float32), np.zeros(3, int))
    assert np.isnan(once["response_variance"]).all()
    assert np.isnan(once["lowest_correlation"]).all()
