"""Planes, components and angles against golden numbers and constructions of known angle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.spatial.transform import Rotation
from sklearn.decomposition import PCA

from science.feedback.freezing import FreezeTraces, freeze_experiment
from science.feedback.subspaces import (
    fitted_plane_normal,
    image_plane_normal,
    plane_angle,
    principal_angles,
    principal_components,
)
from science.feedback.unmixing import effective_weights


@pytest.mark.shared
def test_plane_and_angle_are_those_of_the_original(shared):
    golden = np.load(shared / "golden" / "naumann" / "data_and_analysis_parity.npz")
    normals = fitted_plane_normal(np.stack([golden["an/D1"], golden["an/D2"]]))
    np.testing.assert_allclose(normals, [golden["an/n1"], golden["an/n2"]], atol=1e-13)
    assert plane_angle(*normals) == pytest.approx(golden["an/angle"].item(), abs=1e-10)


@given(
    st.integers(0, 1000),
    st.floats(0, 180, allow_subnormal=False) | st.floats(0, 1e-3, allow_subnormal=False),
)
def test_angle_between_planes_that_were_turned_by_a_known_angle(seed, angle):
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(2, 3))
    axis = basis[0] / np.linalg.norm(basis[0])  # turned about a line in the plane
    turned = Rotation.from_rotvec(np.radians(angle) * axis).apply(basis)
    normals = image_plane_normal(np.stack([basis.T, turned.T]))
    assert plane_angle(*normals) == pytest.approx(min(angle, 180 - angle), abs=1e-10, rel=1e-6)
    points = rng.normal(size=(40, 2)) @ np.stack([basis, turned]) + rng.normal(size=3)
    fitted = fitted_plane_normal(points)
    upright = np.abs(normals[:, 2]).min()
    np.testing.assert_allclose(
        np.abs((fitted * normals).sum(-1)), 1, atol=1e-12 / upright**2, err_msg="same planes"
    )


def test_a_plane_that_does_not_exist_is_nan_and_not_parallel():
    line = np.outer(np.arange(9.0), [1, 2, 3])
    broken = np.random.default_rng(0).normal(size=(9, 3))
    plane = broken.copy()
    broken[3, 1] = np.nan
    normals = fitted_plane_normal(np.stack([line, broken, plane]))
    assert np.isnan(normals[:2]).all() and np.isfinite(normals[2]).all()
    assert np.isnan(plane_angle(normals[0], normals[2]))
    assert np.isnan(image_plane_normal(np.array([[1.0, 2.0], [0.1, 0.2], [3.0, 6.0]]))).all()


def test_components_whiten_as_scikit_learn_does():
    rng = np.random.default_rng(1)
    activity = rng.normal(size=(4, 200, 6)) @ rng.normal(size=(4, 6, 6)) + rng.normal(size=6)
    components = principal_components(activity, 3)
    whitened = components.whiten(activity)
    covariances = np.stack([np.cov(model, rowvar=False) for model in whitened])
    np.testing.assert_allclose(covariances, np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-12)
    for model, found, share, ratio in zip(
        activity, whitened, components.shares, components.participation_ratio, strict=True
    ):
        pca = PCA(6, whiten=True).fit(model)
        np.testing.assert_allclose(share, pca.explained_variance_ratio_, atol=1e-12)
        variances = np.linalg.eigvalsh(np.cov(model, rowvar=False))
        assert ratio == pytest.approx(variances.sum() ** 2 / (variances**2).sum())
        expected = pca.transform(model)[:, :3]
        signs = np.sign((found * expected).sum(0))
        np.testing.assert_allclose(found * signs, expected, atol=1e-10)


def test_participation_ratio_counts_equal_dimensions():
    axes = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))[0][:3]
    activity = np.concatenate([np.eye(3), -np.eye(3)]) @ axes
    assert principal_components(activity, 1).participation_ratio == pytest.approx(3)


@given(st.integers(0, 1000))
def test_principal_angles_are_known_and_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    angles = np.array([rng.choice([0, 1e-7, 30.0]), rng.choice([60.0, 89.9999999, 90.0])])
    frame = np.linalg.qr(rng.normal(size=(9, 9)))[0]
    first = frame[:2]
    radians = np.radians(angles)[:, None]
    second = np.cos(radians) * first + np.sin(radians) * frame[2:4]
    mixed = rng.normal(size=(2, 2)) + 3 * np.eye(2)
    np.testing.assert_allclose(principal_angles(first, mixed @ second), angles, atol=1e-9)
    others = rng.normal(size=(2, 4, 3, 8))
    expected = [np.degrees(subspace_angles(a.T, b.T))[::-1] for a, b in zip(*others, strict=True)]
    np.testing.assert_allclose(principal_angles(*others), expected, atol=1e-9)


def frozen_network(rng, n_units=20, length=50, ripple=0.0):
    """Linear population whose gains rest in the first three phases and then change."""
    readout, feedforward = rng.normal(size=(2, n_units)), rng.normal(size=(n_units, 2))
    gains = np.repeat(rng.normal(size=(2, n_units)), [3 * length, length], axis=0)
    contexts = np.repeat(rng.random((2, 2, 2)), 2 * length, axis=0)
    sources = rng.normal(size=(4 * length, 2))
    inputs = np.einsum("tij,tj->ti", contexts, sources)
    population = gains * (inputs @ feedforward.T)
    return (readout, gains, feedforward), FreezeTraces(sources, population @ readout.T, population)


def test_only_a_change_of_gains_turns_the_plane():
    """Section 5: with frozen gains the plane is an image of x, whatever the context."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        (readout, gains, feedforward), traces = frozen_network(rng)
        components = principal_components(rng.normal(size=(99, 20)) * np.arange(1, 21))
        result = freeze_experiment(traces, components, phase_length=50, skip=5)
        directions = np.concatenate([readout, components.whitening[:1]])
        analytic = image_plane_normal(effective_weights(directions, gains, feedforward))
        fitted = result.normals
        assert plane_angle(fitted, analytic[[50, 100, 199]]).max() < 1e-5
        assert result.angle_frozen < 1e-5
        assert result.angle_unfrozen == pytest.approx(
            plane_angle(analytic[0], analytic[-1]), abs=1e-5
        )
        assert result.principal_frozen.max() < 1e-5
        population = [gains[t, :, None] * feedforward for t in (0, -1)]
        expected = np.degrees(subspace_angles(*population))[::-1]
        np.testing.assert_allclose(result.principal_unfrozen, expected, atol=1e-5)
        errors = np.linalg.norm(traces.sources - traces.outputs, axis=-1).reshape(4, 50)
        np.testing.assert_allclose(result.deviation, errors[1:, 5:].mean(1), atol=1e-12)


def test_freeze_experiments_of_many_models_at_once_are_those_one_by_one():
    rng = np.random.default_rng(4)
    single = [frozen_network(rng)[1] for _ in range(3)]
    components = principal_components(rng.normal(size=(99, 20)))
    stacked = FreezeTraces(*(np.stack(traces) for traces in zip(*single, strict=True)))
    together = freeze_experiment(stacked, components, 50)
    for index, traces in enumerate(single):
        alone = freeze_experiment(traces, components, 50)
        np.testing.assert_allclose(together.normals[index], alone.normals, atol=1e-12)
        np.testing.assert_allclose(together.angle_unfrozen[index], alone.angle_unfrozen)
        np.testing.assert_allclose(together.principal_unfrozen[index], alone.principal_unfrozen)
        np.testing.assert_allclose(together.deviation[index], alone.deviation)


def test_whitening_of_the_component_matters_for_angles_its_sign_does_not():
    rng = np.random.default_rng(5)
    traces = frozen_network(rng)[1]
    components = principal_components(rng.normal(size=(99, 20)) * np.arange(1, 21))
    flipped = type(components)(components.mean, -components.axes, components.variances)
    louder = type(components)(components.mean, components.axes, 25 * components.variances)
    angle, same, other = (
        freeze_experiment(traces, c, 50).angle_unfrozen for c in (components, flipped, louder)
    )
    assert same == pytest.approx(angle, abs=1e-9)
    assert abs(other - angle) > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fitted_plane_normal(np.zeros((2, 3))), "three points"),
        (lambda: image_plane_normal(np.zeros((2, 3))), "image of"),
        (lambda: principal_components(np.zeros((3, 9)), 3), "one sample more"),
        (lambda: principal_components(np.full((9, 3), np.nan), 2), "finite"),
        (lambda: principal_angles(np.zeros((2, 5)), np.zeros((3, 5))), "same size"),
    ],
)
def test_what_has_no_geometry_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("length", "skip", "message"),
    [(49, 0, "two contexts"), (50, 48, "at least three"), (50, -1, "at least three")],
)
def test_phases_must_fit_the_traces(length, skip, message):
    traces = FreezeTraces(np.zeros((200, 2)), np.zeros((200, 2)), np.zeros((200, 4)))
    components = principal_components(np.random.default_rng(6).normal(size=(9, 4)))
    with pytest.raises(ValueError, match=message):
        freeze_experiment(traces, components, length, skip)
