"""Turns sessions of the Allen Brain Observatory into the arrays format.

A program of its own: it runs with the Python of `.venv-allen` (``make install-allen``), because
allensdk needs old versions of numpy and pandas, and imports nothing of the project. Started by
`pipeline.ingest.allen`.
"""
