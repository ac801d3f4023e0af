"""What `exporter/targets/stand_in.py` would be."""

from tests.stand_in import availability, make_engine, require_precision, require_supported

__all__ = ["availability", "make_engine", "require_precision", "require_supported"]
