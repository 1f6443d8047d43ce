"""The gradient at grey against responses whose derivative is known."""

import numpy as np
import pytest
import torch

from science.gradient_field import gradient_fields

SHAPE = (5, 7)
FILTERS = torch.randn(3, 1, *SHAPE, generator=torch.Generator().manual_seed(0))


def respond(images):
    """Softplus of a filter, a squared filter, a dead unit."""
    drive = (images * FILTERS).sum((1, 2, 3))
    simple, complex_, dead = drive
    return torch.stack([torch.nn.functional.softplus(simple + 1), complex_**2 + 2, 0 * dead])


def test_the_gradient_of_each_unit_is_the_derivative_at_grey():
    fields = gradient_fields(respond, SHAPE, 3)
    assert fields.shape == (3, *SHAPE) and fields.dtype == np.float32
    slope = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(fields[0], slope * FILTERS[0, 0], rtol=1e-5)
    np.testing.assert_array_equal(fields[1:], 0)


def test_a_caller_may_have_switched_gradients_off():
    with torch.no_grad():
        assert gradient_fields(respond, SHAPE, 3)[0].any()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda images: respond(images)[:2], "response for each of 3"),
        (lambda images: respond(images).detach(), "requires_grad=False"),
        (lambda images: respond(images) * torch.tensor([1, np.nan, 1]), r"units \[1\]"),
        (lambda images: images.sum((1, 2, 3)).sqrt(), r"units \[0, 1, 2\]"),
    ],
)
def test_bad_responders_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        gradient_fields(bad, SHAPE, 3)
