"""The base of all parameter sets."""

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Validated parameters: immutable, hashable, finite, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
