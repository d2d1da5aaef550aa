"""The table of ``duplex models``."""

from duplex.model_store.store import ModelStore

PACKAGES = (
    "The packages are uploads of open models, often by others than their makers. They are data: no "
    "code\nof theirs runs, and verified files have the sha256 of the manifest (docs/models.md)."
)


def render_status(store: ModelStore) -> str:
    """What is installed, where from, checked or not, under which license; one model a line."""
    rows = [("MODEL", "STATE", "SIZE", "LICENSE", "SOURCE")]
    notes = []
    on_disk = 0
    for status in store.status():
        size = f"{status.size / 1e6:.1f} MB"
        rows.append((status.name, status.state, size, status.license, status.source))
        if status.detail:
            notes.append(f"{status.name}: {status.detail}")
        if status.state != "missing" and status.path.is_relative_to(store.root):
            on_disk += status.size
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, state, size, license_name, source in rows:
        cells = (
            name.ljust(widths[0]),
            state.ljust(widths[1]),
            size.rjust(widths[2]),
            license_name.ljust(widths[3]),
            source,
        )
        lines.append("  ".join(cells))
    lines += ["", *notes] if notes else []
    lines += ["", PACKAGES] if any(row[-1].startswith("package:") for row in rows) else []
    return "\n".join([*lines, "", f"{on_disk / 1e6:.0f} MB in {store.root}"])
