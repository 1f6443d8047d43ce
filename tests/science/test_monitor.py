"""Gamma fits and monitor curves against analytic laws and independent optimisers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from science.monitor import GammaFit, MonitorCurve, check_calibration, fit_gamma, is_flat

MEASURED = np.linspace(0, 255, 18)


def gamma_law(pixels, amplitude, gamma, offset):
    return amplitude * (np.asarray(pixels) / 255) ** gamma + offset


def calibration(seed):
    """Rising luminance at random pixel values, from nearly flat to steep."""
    rng = np.random.default_rng(seed)
    n = rng.integers(3, 30)
    inside = rng.choice(np.arange(1, 255), n - 2, replace=False)
    return np.r_[0, np.sort(inside), 255], np.cumsum(10 ** rng.uniform(-2, 1, n))


def multi_start_mse(pixels, luminance, n_starts=40):
    """Fit by bounded quasi-Newton from random starts (microns_vei 9.10), gradients included."""
    x = pixels / 255
    log_x = np.log(np.where(x > 0, x, 1))

    def loss(parameters):
        a, gamma, c = parameters
        power = np.where(x > 0, np.exp(gamma * log_x), 0.0)
        error = a * power + c - luminance
        partial = np.stack([power, a * power * log_x, np.ones_like(x)])
        return np.square(error).mean(), 2 * (partial * error).mean(1)

    rng = np.random.default_rng(0)
    starts = np.abs(rng.normal(size=(n_starts, 3))) * [luminance.max(), 1, 1]
    bounds = [(0, 1000), (0, 20), (0, 100)]
    fits = (minimize(loss, s, jac=True, method="L-BFGS-B", bounds=bounds) for s in starts)
    return min(fit.fun for fit in fits)


@given(st.floats(1, 900), st.floats(0.3, 6), st.floats(0, 90))
def test_an_exact_gamma_law_is_recovered(amplitude, gamma, offset):
    fit = fit_gamma(MEASURED, gamma_law(MEASURED, amplitude, gamma, offset))
    found = (fit.amplitude, fit.gamma, fit.offset)
    np.testing.assert_allclose(found, (amplitude, gamma, offset), rtol=1e-5, atol=1e-5 * amplitude)
    assert fit.mse < 1e-10 * amplitude**2


@pytest.mark.parametrize("seed", range(13))
def test_no_random_start_fits_better(seed):
    if seed < 8:
        pixels, luminance = calibration(seed)
    else:  # bounds are active: no offset can be so large, or gamma, or amplitude
        pixels = MEASURED
        luminance = gamma_law(
            pixels, *[(50, 2, 130), (50, 40, 1), (1500, 2, 1), (20, 3, 0), (1010, 2, 50)][seed - 8]
        )
        luminance = luminance + 1e-3 * pixels
    fit = fit_gamma(pixels, luminance)
    assert fit.mse <= multi_start_mse(pixels, luminance) * (1 + 1e-6) + 1e-12
    error = gamma_law(pixels, fit.amplitude, fit.gamma, fit.offset) - luminance
    assert fit.mse == pytest.approx(np.square(error).mean())
    assert 0 <= fit.amplitude <= 1000 and 0 <= fit.gamma <= 20 and 0 <= fit.offset <= 100


def test_gamma_law_and_its_inverse():
    fit = GammaFit(amplitude=40.0, gamma=2.0, offset=0.5, mse=0.0)
    np.testing.assert_allclose(fit.luminance([[0, 127.5, 255]]), [[0.5, 10.5, 40.5]])
    np.testing.assert_allclose(fit.pixels([[0.5], [10.5], [40.5]]), [[0], [127.5], [255]])
    with pytest.raises(ValueError, match=r"0\.5 to 40\.5 cd/m2, 41 is outside"):
        fit.pixels([10.0, 41.0])
    with pytest.raises(ValueError, match="0 to 255 grey levels, -1 is outside"):
        fit.luminance(-1)


def test_a_monitor_that_was_off_is_flat():
    assert is_flat(np.linspace(0.1, 0.1 + 17 * 0.049, 18))
    assert not is_flat(np.linspace(0.1, 0.1 + 17 * 0.051, 18))


@given(st.integers(0, 10_000))
def test_curves_go_through_the_points_and_rise(seed):
    pixels, luminance = calibration(seed)
    curve = MonitorCurve(pixels, luminance)
    np.testing.assert_allclose(curve.luminance(pixels), luminance, rtol=1e-12)
    assert (curve.darkest, curve.brightest) == pytest.approx((luminance[0], luminance[-1]))
    assert (np.diff(curve.luminance(np.linspace(0, 255, 5000))) > 0).all()


@given(st.integers(0, 10_000))
def test_pixels_are_the_inverse_of_luminance(seed):
    curve = MonitorCurve(*calibration(seed))
    levels = np.arange(256).reshape(2, 4, 32)
    inside = np.random.default_rng(seed).uniform(0.1, 254.9, (3, 500))
    for pixels in (levels, inside):
        found = curve.pixels(curve.luminance(pixels))
        assert found.shape == pixels.shape and found.dtype == np.float64
        np.testing.assert_allclose(found, pixels, atol=1e-6)


def test_the_inverse_is_that_of_a_root_finder_even_where_the_curve_is_level():
    curve = MonitorCurve(MEASURED, gamma_law(MEASURED, 45, 3, 0.4))
    luminance = 0.4 + 45 * np.linspace(0, 1, 60) ** 6
    expected = [
        brentq(lambda p, y=y: curve.luminance(p) - y, 0, 255, xtol=1e-12) for y in luminance
    ]
    np.testing.assert_allclose(curve.pixels(luminance), expected, atol=1e-6)
    assert curve.pixels(curve.darkest) == 0 and curve.pixels(curve.brightest) == 255
    assert curve.pixels(np.float32(curve.brightest)) == pytest.approx(255, abs=1e-3)


def test_between_the_points_the_curve_is_near_the_law():
    curve = MonitorCurve(MEASURED, gamma_law(MEASURED, 45, 2.2, 0.4))
    pixels = np.arange(256)
    np.testing.assert_allclose(curve.luminance(pixels), gamma_law(pixels, 45, 2.2, 0.4), atol=0.03)


@pytest.mark.parametrize("value", [np.nan, 0.3, 50.0])
def test_luminances_that_the_monitor_does_not_have_are_refused(value):
    curve = MonitorCurve(MEASURED, gamma_law(MEASURED, 45, 2, 0.4))
    with pytest.raises(ValueError, match=rf"0\.4 to 45\.4 cd/m2, {value:g} is outside"):
        curve.pixels([10.0, value])
    with pytest.raises(ValueError, match=r"0 to 255 grey levels, 255\.1 is outside"):
        curve.luminance([[3, 255.1]])


@pytest.mark.parametrize(
    ("pixels", "luminance", "message"),
    [
        ([0, 100, 255], [1, 2], "shapes"),
        ([[0, 100, 255]], [[1, 2, 3]], "shapes"),
        ([0, 255], [1, 2], "at least 3"),
        ([0, 100, 255], [1, np.nan, 3], "finite"),
        ([0, 100, np.inf], [1, 2, 3], "finite"),
        ([0, 100, 100, 255], [1, 2, 2.1, 3], "100 is followed by 100"),
        ([255, 100, 0], [3, 2, 1], "255 is followed by 100"),
        ([10, 100, 255], [1, 2, 3], "goes from 10 to 255"),
        ([0, 100, 250], [1, 2, 3], "goes from 0 to 250"),
        ([-5, 100, 255], [1, 2, 3], "goes from -5 to 255"),
        ([0, 100, 256], [1, 2, 3], "goes from 0 to 256"),
        ([0, 100, 255], [-1, 2, 3], "negative, got -1"),
        ([0, 90, 100, 255], [1, 2, 2, 3], "2 cd/m2 at 90 and 2 cd/m2 at 100"),
        ([0, 90, 100, 255], [1, 2, 3, 2.5], "3 cd/m2 at 100 and 2.5 cd/m2 at 255"),
    ],
)
def test_what_is_no_calibration_is_refused(pixels, luminance, message):
    for use in (check_calibration, MonitorCurve, fit_gamma):
        with pytest.raises(ValueError, match=message):
            use(pixels, luminance)
