"""pyarrow, which not everybody has."""

from pipeline.errors import UserError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise UserError("Parquet needs pyarrow: pip install 'inceptionloop[parquet]'") from error

__all__ = ["pa", "pq"]
