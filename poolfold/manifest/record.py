"""What every record of a manifest is."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A frozen JSON object; an unknown or a missing key, or a wrong type, is an error that names its place."""
