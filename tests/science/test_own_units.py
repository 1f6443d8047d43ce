import pytest
import torch

from science.model import Ensemble, ImageModelConfig, ImageNetwork
from science.model.own_units import OwnUnits

SHAPE = (36, 40)
EDGES = [(-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (0.0, 0.0), (0.13, -0.41), (0.999, -0.999)]
CORES = {
    "stacked": {"type": "stacked", "hidden_channels": 6, "input_kern": 9},
    "linear": {"type": "stacked", "hidden_channels": 6, "input_kern": 9, "linear": True},
    "skip": {"type": "stacked", "hidden_channels": 4, "layers": 4, "skip": 2, "hidden_kern": 3},
    "allen": {
        "type": "stacked", "hidden_channels": 6, "skip": 1, "input_kern": 4, "input_padding": 2,
        "input_pool": 2, "hidden_kern": 3,
    },
    "gabor": {"type": "gabor"},
    "energy": {"type": "energy"},
}  # fmt: skip


def ensemble_of(core, readout):
    config = ImageModelConfig.model_validate({"core": CORES[core], "readout": {"type": readout}})
    network = ImageNetwork(config, SHAPE, {"a": len(EDGES)})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
            if name.endswith("position"):
                parameter.copy_(torch.tensor(EDGES))
            if name.endswith("spatial"):
                parameter[:, 3:] = 0
                parameter[:, :, :-4] = 0
        for norm in network.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.running_mean.uniform_(-0.3, 0.3, generator=generator)
    return Ensemble([network])


@pytest.mark.parametrize("readout", ["gaussian", "factorized", "pyramid"])
@pytest.mark.parametrize("core", CORES)
def test_windows_give_the_responses_and_gradients_of_whole_images(core, readout):
    ensemble = ensemble_of(core, readout)
    own = OwnUnits(ensemble, [("a", i) for i in range(len(EDGES))])
    images = torch.randn(len(EDGES), 1, *SHAPE, generator=torch.Generator().manual_seed(2))
    leaves = [images.clone().requires_grad_() for _ in range(2)]
    expected, found = ensemble(leaves[0], "a").diagonal(), own(leaves[1])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    gradients = [
        torch.autograd.grad(r.sum(), leaf)[0]
        for r, leaf in zip((expected, found), leaves, strict=True)
    ]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)
    size = tuple(own.members[0].kernels.shape[-2:])
    whole = ensemble.networks[0].core.output_shape[1:]
    assert size == {"gaussian": (2, 2), "factorized": (3, 4), "pyramid": whole}[readout]


def test_a_point_readout_computes_no_more_of_the_map_than_it_reads(monkeypatch):
    ensemble = ensemble_of("stacked", "gaussian")
    own = OwnUnits(ensemble, [("a", 0)])
    monkeypatch.setattr(type(ensemble.networks[0].core), "forward", None)
    assert own(torch.zeros(1, 1, *SHAPE)).shape == (1,)


def test_misuse_is_named():
    own = OwnUnits(ensemble_of("stacked", "gaussian"), [("a", 0), ("a", 1)])
    with pytest.raises(ValueError, match="3 images for 2 units"):
        own(torch.zeros(3, 1, *SHAPE))
    with pytest.raises(ValueError, match="36, 40"):
        own(torch.zeros(2, 1, 40, 36))
    with pytest.raises(ValueError, match="no readout 'b'"):
        OwnUnits(ensemble_of("stacked", "gaussian"), [("b", 0)])
