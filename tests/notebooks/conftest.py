"""The miniature that the notebooks read."""

from miniature import populated, recordings, tables  # noqa: F401
