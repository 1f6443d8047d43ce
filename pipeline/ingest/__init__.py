"""Readers of recordings; all of them end in `pipeline.ingest.scan`."""
