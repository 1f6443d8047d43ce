"""The tables, empty or filled with the miniature, on the session's private server."""

from miniature import populated, recordings, tables  # noqa: F401
