"""Logs of workers for machines: one JSON object a line."""

import json
import logging
import os
import platform
from datetime import UTC, datetime
from typing import Any


class JsonLines(logging.Formatter):
    """Time (UTC), level, worker and message, and what was said of a job: table, keys, seconds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "worker": f"{platform.node()}:{os.getpid()}",
            "message": record.getMessage(),
        }
        for name in ("table", "keys", "seconds"):
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as_json() -> None:
    """Make all loggers of this process write JSON lines."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())
