"""Structured logs: a JSON object a line on standard error. Texts, prompts and keys are never in them."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

NAME = "poolfold.serve"
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class _Lines(logging.Formatter):
    """A record -> a JSON object: its time, level and event, and what was passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN and value is not None}
        if record.exc_info and record.exc_info[1] is not None:
            # Not its message: that may hold a text.
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["at"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
        return msgspec.json.encode(line, enc_hook=str).decode()


def set_up(*, quiet: bool, stream: TextIO | None = None) -> None:
    """Have this process log so, its libraries' warnings too; quiet: warnings and errors alone."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines())
    for name, level in ((NAME, logging.WARNING if quiet else logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)

    def warn(message: Warning | str, *_: object, **__: object) -> None:
        logging.getLogger(NAME).warning(str(message))

    warnings.showwarning = warn
