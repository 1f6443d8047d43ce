"""Runs the graph: command line, workers, private database server, ingest, reports."""

import warnings

# DataJoint says so wherever it is first imported; the environment and `pipeline.connection` say
# everything that its configuration file could.
warnings.filterwarnings("ignore", "No datajoint.json found", UserWarning)
