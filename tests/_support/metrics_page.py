"""The metrics page, read as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families


def samples(page: str) -> dict[str, float]:
    """Values by name and labels, spelt ``name{a="b",c="d"}``, labels in alphabetical order."""
    return {
        sample.name + _braces(sample.labels): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def _braces(labels: dict[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{inside}}}" if inside else ""
