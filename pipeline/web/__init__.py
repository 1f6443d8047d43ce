"""A status page that only reads: progress, errors, models, images, matrices, provenance."""

from pipeline.web.application import create_app

__all__ = ["create_app"]
