"""Models in words."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

from pipeline.configurations import flat
from science.model.config import ImageModelConfig
from science.model.cores.energy import EnergyCoreConfig
from science.model.cores.gabor import GaborCoreConfig
from science.model.cores.stacked import StackedCoreConfig
from science.model.modulators import MLPModulatorConfig
from science.model.readouts.factorized import FactorizedReadoutConfig
from science.model.readouts.gaussian import GaussianReadoutConfig
from science.model.readouts.pyramid import PyramidReadoutConfig
from science.model.shifters import AffineShifterConfig, MLPShifterConfig
from science.params import Params

CORES = {"stacked": "CNN", "gabor": "Gabor", "energy": "energy CNN"}


def family(model: Mapping[str, Any]) -> str:
    """Name the model of a row of `ModelConfig` by what it is: CNN, linear, Gabor."""
    if model["model_family"] != "image":
        return model["model_family"]
    config = ImageModelConfig.model_validate(model["model_params"])
    return "linear" if config.linear else CORES.get(config.core.type, config.core.type)


def architecture(model: Mapping[str, Any]) -> str:
    """Describe the model of a row of `ModelConfig` in a line."""
    if model["model_family"] != "image":
        return written(model["model_params"])
    config = ImageModelConfig.model_validate(model["model_params"])
    parts = (config.core, config.readout, config.shifter, config.modulator)
    return "; ".join(words(part) for part in parts if part is not None)


def tell_apart(descriptions: Sequence[str], params: Sequence[Mapping[str, Any]]) -> list[str]:
    """Add to descriptions that read the same the parameters in which they differ."""
    flattened = [flat(p) for p in params]
    told = []
    for text, own in zip(descriptions, flattened, strict=True):
        same = [p for t, p in zip(descriptions, flattened, strict=True) if t == text]
        differing = {n: v for n, v in own.items() if any(p.get(n) != v for p in same)}
        told.append("; ".join(filter(None, [text, written(differing)])))
    return told


def written(params: Mapping[str, Any]) -> str:
    """Write parameters in a line."""
    return ", ".join(f"{name} = {value}" for name, value in flat(params).items())


@singledispatch
def words(part: Params) -> str:
    """Describe a core, readout, shifter or modulator; by its parameters unless told how below."""
    return written(part.model_dump(mode="json"))


@words.register
def _(core: StackedCoreConfig) -> str:
    text = f"{core.layers} layer{'s' if core.layers > 1 else ''} \u00d7 {core.hidden_channels} "
    text += f"channels, filters {core.input_kern} px"
    if core.layers > 1:
        text += f" then {core.hidden_kern} px"
    if core.input_pool > 1:
        text += f", pooled by {core.input_pool}"
    return text + (", no nonlinearity inside" if core.linear else "")


@words.register
def _(core: GaborCoreConfig) -> str:
    cells = "simple cells and energies" if core.simple else "energies"
    wavelengths = ", ".join(f"{wavelength:g}" for wavelength in core.wavelengths)
    return f"{cells} of Gabors in {core.orientations} orientations, wavelengths {wavelengths} px"


@words.register
def _(core: EnergyCoreConfig) -> str:
    filters = " then ".join(f"{kern} px" for kern in core.hidden_kern)
    return (
        f"log energy of Gabors in {core.orientations} orientations and {core.octaves} octaves, "
        f"pooled by {core.pool}, layers \u00d7 {core.hidden_channels} channels, filters {filters}"
    )


@words.register
def _(readout: PyramidReadoutConfig) -> str:
    text = f"pyramid readout of {readout.scale_n + 1} levels"
    return text + ("" if readout.downsample else " at full resolution") + _positive(readout)


@words.register
def _(readout: FactorizedReadoutConfig) -> str:
    return "readout by mask \u00d7 features" + _positive(readout)


@words.register
def _(readout: GaussianReadoutConfig) -> str:
    return "Gaussian readout" + _positive(readout)


@words.register
def _(shifter: MLPShifterConfig) -> str:
    return "MLP shifter"


@words.register
def _(shifter: AffineShifterConfig) -> str:
    return "affine shifter"


@words.register
def _(modulator: MLPModulatorConfig) -> str:
    return f"MLP modulator of the {modulator.multiplies}"


def _positive(readout: Any) -> str:
    return ", weights \u2265 0" if readout.positive else ""
