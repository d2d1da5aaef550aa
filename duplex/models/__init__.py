"""Where model files come from and whether they are what they should be. Loads no model code."""

from duplex.models.catalog import ModelStatus
from duplex.models.progress import Progress
from duplex.models.source import HubSource, LocalSource, PackageSource, Source, parse_source
from duplex.models.store import ModelStore, default_root
from duplex.models.table import render_status

__all__ = [
    "HubSource",
    "LocalSource",
    "ModelStatus",
    "ModelStore",
    "PackageSource",
    "Progress",
    "Source",
    "default_root",
    "parse_source",
    "render_status",
]
