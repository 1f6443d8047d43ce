"""Runs the graph: command line, workers, private database server, ingest, reports."""
