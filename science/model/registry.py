"""All architectures, each by its configuration: the only way from a stored row to a module.

A new core is one file in `science/model/cores` that ends with `CORE = (its Config, its module)`,
a new readout one in `science/model/readouts` that ends with `READOUT = (...)`. Shifters and
modulators are listed here.
"""

import pkgutil
from functools import reduce
from importlib import import_module
from operator import or_
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from science.model import cores, readouts
from science.model.modulators import MLPModulator, MLPModulatorConfig
from science.model.shifters import (
    AffineShifter,
    AffineShifterConfig,
    MLPShifter,
    MLPShifterConfig,
)
from science.params import Params

Modules = dict[type[Params], type[nn.Module]]


def named_in(folder: ModuleType, name: str) -> Modules:
    """Modules by their configuration, of all files of a folder that set `name`.

    Parameters
    ----------
    folder : module
        Package whose files are looked at, in alphabetical order.
    name : str
        Of the pair (configuration, module) in a file: 'CORE' or 'READOUT'.

    Raises
    ------
    TypeError
        If two files have the same `type`.
    """
    modules: Modules = {}
    file_of: dict[str, str] = {}
    for file in sorted(info.name for info in pkgutil.iter_modules(folder.__path__)):
        pair = getattr(import_module(f"{folder.__name__}.{file}"), name, None)
        if pair is None:
            continue
        kind = pair[0].model_fields["type"].default
        if kind in file_of:
            raise TypeError(f"{file}.py and {file_of[kind]}.py both have the type {kind!r}")
        file_of[kind] = file
        modules[pair[0]] = pair[1]
    return modules


CORES = named_in(cores, "CORE")
READOUTS = named_in(readouts, "READOUT")
SHIFTERS: Modules = {
    MLPShifterConfig: MLPShifter,
    AffineShifterConfig: AffineShifter,
}
MODULATORS: Modules = {
    MLPModulatorConfig: MLPModulator,
}


def any_of(modules: Modules) -> Any:
    """Type of the configurations of these modules, told apart by their `type`."""
    union = reduce(or_, modules)
    return Annotated[union, Field(discriminator="type")] if len(modules) > 1 else union


CoreConfig = any_of(CORES)
ReadoutConfig = any_of(READOUTS)
ShifterConfig = any_of(SHIFTERS)
ModulatorConfig = any_of(MODULATORS)
