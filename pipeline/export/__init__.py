"""Results as files: a slice of the graph as Parquet and arrays, MEIs and responses as NWB."""
