"""Bilinear sampling against torch's own, values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from science.model.readouts.sampling import sample


def by_torch(maps, points):
    sampled = F.grid_sample(
        maps.permute(0, 3, 1, 2), points[:, :, None], align_corners=True, padding_mode="zeros"
    )
    return sampled[..., 0].transpose(1, 2)


@pytest.mark.parametrize("size", [(7, 11), (2, 3), (1, 5), (4, 1)])
def test_values_and_gradients_are_those_of_grid_sample(size):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, *size, 4, generator=generator).double().requires_grad_()
    points = (3 * torch.rand(3, 200, 2, generator=generator) - 1.5).double().requires_grad_()
    assert (points.detach().abs().amax(-1) > 1).float().mean() > 0.3
    ours, theirs = sample(maps, points), by_torch(maps, points)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(v.square().sum(), (maps, points)) for v in (ours, theirs)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
        assert one.abs().max() > 0.1


def test_pixels_are_read_exactly_up_to_the_corners_and_nothing_lies_far_outside():
    maps = torch.randn(1, 5, 9, 2, generator=torch.Generator().manual_seed(0)).double()
    y, x = torch.meshgrid(torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 9), indexing="ij")
    points = torch.stack([x, y], -1).view(1, 45, 2).double()
    torch.testing.assert_close(sample(maps, points), maps.view(1, 45, 2))
    assert (sample(maps, points + 4) == 0).all()


def test_at_the_last_pixel_the_slope_is_the_one_from_within():
    maps = torch.arange(5.0)[None, None, :, None].expand(1, 3, 5, 1)  # grows by 1 per pixel of x
    corner = torch.tensor([[[1.0, 1.0]]], requires_grad=True)
    value = sample(maps, corner)
    value.sum().backward()
    assert value.item() == 4
    torch.testing.assert_close(corner.grad, torch.tensor([[[2.0, 0.0]]]))  # 2 pixels per half map
