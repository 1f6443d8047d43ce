"""Configuration rows: validated parameters under a hash of their canonical form."""

import hashlib
import json
from typing import Any, ClassVar

from pydantic import BaseModel, TypeAdapter


def configuration_hash(kind: str, params: dict[str, Any], version: int = 1) -> str:
    """Return the first 64 bits of SHA-256 over canonical JSON, as 16 hex digits.

    `params` must hold every parameter, defaults included, so that the same computation always
    has the same hash (decision: `KEYS`, "Limits").
    """
    document = {"type": kind, "version": version, "params": params}
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Configuration:
    """Mixin of tables that hold one validated parameter set per row.

    The table has a single primary attribute (the hash) and a `json` column for the parameters;
    `columns` names the parameters that people filter on and that therefore are columns too.
    """

    params_type: ClassVar[Any]
    params_column: ClassVar[str]
    version: ClassVar[int] = 1

    @classmethod
    def columns(cls, params: Any) -> dict[str, Any]:
        """Return the columns derived from the parameters."""
        return {}

    @classmethod
    def register(cls, params: BaseModel | dict[str, Any]) -> dict[str, str]:
        """Validate parameters, insert them unless they are there, and return their key.

        Raises
        ------
        pydantic.ValidationError
            If a parameter is missing, unknown or out of range; nothing is inserted.
        """
        checked = TypeAdapter(cls.params_type).validate_python(params)
        document = checked.model_dump(mode="json")
        (hash_attribute,) = cls.primary_key
        key = {hash_attribute: configuration_hash(cls.__name__, document, cls.version)}
        cls.insert1(
            key | {cls.params_column: document} | cls.columns(checked), skip_duplicates=True
        )
        return key

    @classmethod
    def params(cls, key: dict[str, Any]) -> Any:
        """Return the validated parameters of one row."""
        document = (cls & key).fetch1(cls.params_column)
        return TypeAdapter(cls.params_type).validate_python(document)
