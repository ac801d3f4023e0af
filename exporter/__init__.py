"""Checkpoint in, validated artifact out. The functions below, of `api`, are what the command line calls.

Importing the package loads none of the libraries that they need, so that the command starts fast and a light install
keeps working.
"""

from __future__ import annotations

from exporter.api import bench, build, compare, export, push, validate

__all__ = ["bench", "build", "compare", "export", "push", "validate"]
