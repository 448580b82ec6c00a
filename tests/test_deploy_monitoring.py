"""``deploy/``: what Prometheus scrapes and tells an operator, and what Grafana shows, about metrics that there are."""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from proxy.config import Settings
from proxy.observe.metrics import TABLE, Metrics
from tests.processes import REPOSITORY, WAIT_S

DEPLOY: Final = REPOSITORY / "deploy"
ALERTS: Final = DEPLOY / "alerts.yml"
DASHBOARD: Final = DEPLOY / "grafana" / "dashboards" / "memory-proxy.json"
TOKEN_FILE: Final = "/tmp/admin-token"
COLUMNS: Final = 24

Tree = dict[str, Any]

# What Prometheus' own client, and Prometheus itself, have beside the table.
OF_PROCESSES: Final = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
FOREIGN: Final = {"up", *OF_PROCESSES, *(f"memory_proxy_keeper_{name}" for name in OF_PROCESSES)}
SELECTOR: Final = re.compile(r"\b(memory_proxy_\w+|process_\w+|up)\b(?:\{([^}]*)\})?")
MATCHER: Final = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
GROUPING: Final = re.compile(r"\b(?:by|ignoring|group_left|on) \(([^)]*)\)")


def run_promtool(*arguments: str) -> None:
    """Fails with what it says where it does not say yes."""
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=WAIT_S, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr


def read(path: Path) -> Tree:
    tree: Tree = yaml.safe_load(path.read_text("utf-8"))
    return tree


@cache
def rules() -> list[Tree]:
    return [rule for group in read(ALERTS)["groups"] for rule in group["rules"]]


@cache
def dashboard() -> Tree:
    tree: Tree = json.loads(DASHBOARD.read_text("utf-8"))
    return tree


def panels() -> list[Tree]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def titled(panel: Tree) -> str:
    return str(panel["title"])


def list_expressions() -> Iterator[tuple[str, str]]:
    """Where each is, and itself, with the dashboard's variables filled in."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", fill_in(target["expr"])
    for annotation in dashboard()["annotations"]["list"]:
        yield annotation["name"], fill_in(annotation["expr"])


def fill_in(expression: str) -> str:
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*")


EXPRESSIONS: Final = dict(list_expressions())
# The labels that each series of the table has.
SERIES: Final = {
    f"memory_proxy_{row.name}{ending}": set(row.labels)
    for row in TABLE
    for ending in (("_bucket", "_sum", "_count") if row.kind == "histogram" else ("",))
}


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_every_metric_is_in_the_table(expression: str) -> None:
    """With the labels that are asked for: of a name that nobody has, a panel is empty and an alert quiet for ever."""
    known: set[str] = {"instance", "job", "le"}
    found = SELECTOR.findall(expression)
    assert found
    assert {name for name, _ in found} - SERIES.keys() - FOREIGN == set()
    for name, matchers in found:
        labels = SERIES.get(name, set())
        assert set(MATCHER.findall(matchers)) <= labels | {"instance", "job"}
        known |= labels
    for names in GROUPING.findall(expression):
        assert {name.strip() for name in names.split(",")} - {""} <= known


def test_foreign_metrics_are_served_too() -> None:
    """Those of the process."""
    text = Metrics().render().decode()
    assert all(f"\n{name} " in text for name in OF_PROCESSES)


def test_every_expression_is_promql(tmp_path: Path) -> None:
    """Prometheus reads each."""
    wrapped = [{"record": f"wrapped:{number}", "expr": expr} for number, expr in enumerate(EXPRESSIONS.values())]
    path = tmp_path / "wrapped.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "wrapped", "rules": wrapped}]}), "utf-8")
    run_promtool("check", "rules", "--lint=none", str(path))


# --- Prometheus -------------------------------------------------------------------------------------------------------


def test_prometheus_reads_its_configuration(tmp_path: Path) -> None:
    """With its rules, and with the token in the file where it is looked for."""
    token = tmp_path / "token"
    token.write_text("planted", "utf-8")
    text = (DEPLOY / "prometheus.yml").read_text("utf-8")
    assert TOKEN_FILE in text
    (tmp_path / "prometheus.yml").write_text(text.replace(TOKEN_FILE, str(token)), "utf-8")
    (tmp_path / "alerts.yml").write_text(ALERTS.read_text("utf-8"), "utf-8")
    run_promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_prometheus_finds_every_replica() -> None:
    """By the name and port that compose.yaml gives them, with the token that it writes to the file."""
    (job,) = read(DEPLOY / "prometheus.yml")["scrape_configs"]
    (lookup,) = job["dns_sd_configs"]
    services = read(DEPLOY / "compose.yaml")["services"]
    assert [name for name in lookup["names"] if name in services] == lookup["names"]
    assert lookup["port"] == Settings().server.port
    assert set(services["proxy"]["networks"]) & set(services["prometheus"]["networks"])
    assert job["authorization"]["credentials_file"] == TOKEN_FILE
    assert f"> {TOKEN_FILE} " in services["prometheus"]["entrypoint"][-1]
    assert f'job="{job["job_name"]}"' in rules()[0]["expr"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: Tree) -> None:
    """How bad it is, what it is, and what it means; it names only labels that it has."""
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description"}
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    grouped = {name.strip() for names in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for name in names.split(",")}
    aggregates = re.search(r"\b(?:sum|max|count|absent)\b", rule["expr"])
    assert named <= (grouped if aggregates else {"instance"})


# Two replicas for two hours, in steps of a minute, with the little troubles of any day.
HEALTHY: Final = {
    'up{job="memory-proxy", instance="a"}': "1+0x120",
    'up{job="memory-proxy", instance="b"}': "1+0x120",
    'memory_proxy_requests_total{route="chat", code="200"}': "0+600x120",
    'memory_proxy_requests_total{route="chat", code="502"}': "0+6x120",
    'memory_proxy_limited_total{limit="in_flight"}': "0+6x120",
    'memory_proxy_unauthorized_total{reason="no_key"}': "0+6x120",
    'memory_proxy_loop_lag_seconds_bucket{instance="a", le="0.016"}': "0+1000x120",
    'memory_proxy_loop_lag_seconds_bucket{instance="a", le="0.5"}': "0+1000x120",
    'memory_proxy_loop_lag_seconds_bucket{instance="a", le="+Inf"}': "0+1000x120",
    'memory_proxy_memory_total{status="injected"}': "0+600x120",
    'memory_proxy_memory_total{status="timeout"}': "0+6x120",
    'memory_proxy_memory_errors_total{step="recall"}': "0+1x120",
    'memory_proxy_recall_seconds_bucket{le="0.032"}': "0+1000x120",
    'memory_proxy_recall_seconds_bucket{le="0.25"}': "0+1000x120",
    'memory_proxy_recall_seconds_bucket{le="+Inf"}': "0+1000x120",
    'memory_proxy_keeper_up{instance="a"}': "1+0x120",
    'memory_proxy_keeper_restarts_total{instance="a"}': "0+0x69 1+0x50",
    'memory_proxy_journal_oldest_seconds{instance="a"}': "5+0x120",
    'memory_proxy_journal_pending{instance="a"}': "20+0x120",
    'memory_proxy_journal_failed{instance="a"}': "0+0x120",
    'memory_proxy_journal_held{instance="a"}': "0+0x78 3+0x1 0+0x40",
    'memory_proxy_journal_lost_total{instance="a"}': "0+0x120",
}
# What goes wrong for each alert.
TROUBLE: Final = {
    "MemoryProxyGone": {
        'up{job="memory-proxy", instance="a"}': "0+0x120",
        'up{job="memory-proxy", instance="b"}': "_x120",
    },
    "MemoryProxyReplicaLost": {'up{job="memory-proxy", instance="b"}': "1+0x60 _x60"},
    "MemoryProxyUpstreamFailing": {'memory_proxy_requests_total{route="chat", code="502"}': "0+60x120"},
    "MemoryProxyLimiting": {'memory_proxy_limited_total{limit="in_flight"}': "0+120x120"},
    "MemoryProxyUnauthorized": {'memory_proxy_unauthorized_total{reason="no_key"}': "0+120x120"},
    "MemoryProxyLoopLag": {'memory_proxy_loop_lag_seconds_bucket{instance="a", le="0.016"}': "0+900x120"},
    "MemoryProxyFailingOpen": {'memory_proxy_memory_errors_total{step="recall"}': "0+20x120"},
    "MemoryProxyRecallSlow": {'memory_proxy_recall_seconds_bucket{le="0.032"}': "0+900x120"},
    "MemoryProxyRecallTimesOut": {'memory_proxy_memory_total{status="timeout"}': "0+60x120"},
    "MemoryProxyKeeperDown": {'memory_proxy_keeper_up{instance="a"}': "1+0x60 0+0x60"},
    "MemoryProxyKeeperRestarting": {'memory_proxy_keeper_restarts_total{instance="a"}': "0+1x120"},
    "MemoryProxyJournalOld": {'memory_proxy_journal_oldest_seconds{instance="a"}': "0+60x120"},
    "MemoryProxyJournalDeep": {'memory_proxy_journal_pending{instance="a"}': "0+1000x120"},
    "MemoryProxyJournalFailed": {'memory_proxy_journal_failed{instance="a"}': "0+0x60 1+0x60"},
    "MemoryProxyJournalHeld": {'memory_proxy_journal_held{instance="a"}': "0+0x60 3+0x60"},
    "MemoryProxyJournalLost": {'memory_proxy_journal_lost_total{instance="a"}': "0+0x70 5+0x50"},
}


def expect_firing(tmp_path: Path, series: dict[str, str], alerts: set[str]) -> None:
    """That these alerts fire after 80 minutes of *series*, once each, and no others."""
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "80m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)],
            }
        ],
    }
    path = tmp_path / "alerts.test.yml"
    path.write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}), "utf-8"
    )
    run_promtool("test", "rules", str(path))


def test_nothing_fires_on_a_good_day(tmp_path: Path) -> None:
    """A chat in a hundred fails, a keeper was restarted once, an exchange was held for a moment."""
    expect_firing(tmp_path, HEALTHY, set())


@pytest.mark.parametrize("alert", [rule["alert"] for rule in rules()])
def test_it_fires_when_it_should(tmp_path: Path, alert: str) -> None:
    """And nothing else does."""
    expect_firing(tmp_path, HEALTHY | TROUBLE[alert], {alert})


# --- Grafana ----------------------------------------------------------------------------------------------------------


def test_panels_do_not_overlap() -> None:
    """Each has an id and a place of its own, within the grid, and no gap is left in a row."""
    places = [(panel["id"], panel["gridPos"]) for panel in dashboard()["panels"]]
    assert len({number for number, _ in places}) == len(places)
    for _, place in places:
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= COLUMNS
    for (_, a), (_, b) in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above
    width = {y: sum(p["w"] for _, p in places if p["y"] == y) for y in {p["y"] for _, p in places}}
    assert set(width.values()) == {COLUMNS}


@pytest.mark.parametrize("panel", panels(), ids=titled)
def test_a_panel_is_complete(panel: Tree) -> None:
    """It has a unit, is about the chosen replicas of the chosen source, and its lines have names that they can have."""
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)
    for part in [panel, *panel["targets"]]:
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        selectors = SELECTOR.findall(target["expr"])
        assert all('instance=~"$instance"' in matchers for _, matchers in selectors)
        assert "[5m]" not in target["expr"], "$__rate_interval goes with the zoom"
        grouped = {
            name.strip() for names in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for name in names.split(",")
        }
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert legend <= grouped | {"instance"}
        assert grouped - {"le"} <= legend or panel["type"] == "stat", "two lines would have one name"


def test_variables_are_there() -> None:
    """The source, and the replicas that it knows."""
    names = [variable["name"] for variable in dashboard()["templating"]["list"]]
    assert names == ["datasource", "instance"]
    used = set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text("utf-8")))
    assert used - {"__rate_interval", "__all"} == set(names)
    query = dashboard()["templating"]["list"][1]["definition"]
    assert re.fullmatch(r"label_values\((\w+), instance\)", query)[1] in SERIES  # type: ignore[index]  # else it fails


def test_grafana_finds_everything() -> None:
    """Its source and its dashboard are where compose.yaml puts them."""
    services = read(DEPLOY / "compose.yaml")["services"]
    grafana = services["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    (provider,) = read(DEPLOY / "grafana/provisioning/dashboards/memory-proxy.yaml")["providers"]
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{DASHBOARD.name}"
    (source,) = read(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert services["prometheus"]["ports"][0].endswith(":9090")
    assert source["jsonData"]["timeInterval"] == read(DEPLOY / "prometheus.yml")["global"]["scrape_interval"]
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
