"""The metrics: one table, and what Prometheus gets of it."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe.metrics import TABLE, Metrics, Row


def families(metrics: Metrics) -> dict[str, str]:
    """Type by name, as a scraper reads them. It cuts ``_total`` off counters."""
    return {family.name: family.type for family in text_string_to_metric_families(metrics.render().decode())}


def use(metrics: Metrics, row: Row) -> None:
    """Sets a metric to 3, whatever it is."""
    labels = ["label"] * len(row.labels)
    if row.kind == "counter":
        metrics.count(row.name, *labels, by=3)
    elif row.kind == "gauge":
        metrics.gauge(row.name).set(3)
    else:
        metrics.observe(row.name, 3, *labels)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_row_is_rendered(row: Row) -> None:
    """A metric has its prefix, its type, its help, and the value it was given."""
    metrics = Metrics()
    use(metrics, row)
    name = f"memory_proxy_{row.name}"
    found = families(metrics)
    assert found[name.removesuffix("_total") if row.kind == "counter" else name] == row.kind
    rendered = metrics.render().decode()
    assert f"# HELP {name} {row.help}" in rendered
    suffix = "_sum" if row.kind == "histogram" else ""
    labels = ",".join(f'{label}="label"' for label in sorted(row.labels))
    assert f"\n{name}{suffix}{f'{{{labels}}}' if labels else ''} 3.0\n" in rendered


def test_nothing_is_missing_before_it_is_used() -> None:
    """Metrics without labels show from the start, so that a rate has its zero."""
    found = families(Metrics())
    assert all(
        f"memory_proxy_{row.name}".removesuffix("_total" if row.kind == "counter" else "") in found for row in TABLE
    )


def test_names_are_unique_and_buckets_ascend() -> None:
    """The table contradicts itself nowhere."""
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert all(sorted(set(row.buckets)) == list(row.buckets) for row in TABLE)


def test_two_apps_do_not_share_metrics() -> None:
    """Each has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.count("client_gone_total")
    assert b"memory_proxy_client_gone_total 0.0" in other.render()


def test_a_watched_gauge_is_asked_when_it_is_scraped() -> None:
    """The value is that of the moment."""
    metrics = Metrics()
    values = iter((1, 2))
    metrics.watch("working_sets", lambda: next(values))
    assert b"memory_proxy_working_sets 1.0" in metrics.render()
    assert b"memory_proxy_working_sets 2.0" in metrics.render()


def test_a_metric_that_is_not_in_the_table_is_an_error() -> None:
    """A misspelt name does not count in silence."""
    with pytest.raises(KeyError):
        Metrics().count("request_total", "chat", "200")
    with pytest.raises(ValueError, match="label"):
        Metrics().count("requests_total", "chat")
