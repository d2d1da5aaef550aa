"""Where model files come from and whether they are what they should be. Loads no model code."""

from duplex.model_store.catalog import ModelStatus
from duplex.model_store.progress import Progress
from duplex.model_store.source import HubSource, LocalSource, PackageSource, Source, parse_source
from duplex.model_store.store import ModelStore, default_root
from duplex.model_store.table import render_status

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
