"""``memory-proxy check``: whether everything that a server needs is there, and what to do where it is not."""

import asyncio
from pathlib import Path
from typing import Final

import typer
from rich.text import Text

from proxy.cli import options, output
from proxy.cli.probes import Finding, examine
from proxy.config import Settings
from proxy.redaction import Redactor

STYLES: Final = {"ok": "green", "note": "yellow", "failed": "red"}


def check(
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Validate the configuration and reach everything that a server needs; exit 0 if all is well, else 1."""
    settings = options.load(config, data_dir)
    with options.reported():
        Redactor(settings.redaction)  # may need what is not installed
    findings = [_describe_configuration(settings, config), *asyncio.run(examine(settings, server))]
    healthy = all(finding.state != "failed" for finding in findings)
    if as_json:
        output.print_json({"healthy": healthy, "checks": findings})
    else:
        _show(findings)
    if not healthy:
        raise typer.Exit(options.FAILURE)


def _describe_configuration(settings: Settings, file: Path | None) -> Finding:
    source = "defaults and environment" if file is None else f"{file}, environment over it"
    return Finding("configuration", "ok", f"{source}; data in {settings.data_dir}")


def _show(findings: list[Finding]) -> None:
    table = output.make_table()
    for name in ("what", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("found, and what to do", overflow="fold")
    for finding in findings:
        told = finding.found if not finding.advice else f"{finding.found}\n→ {finding.advice}"
        state = Text(finding.state, STYLES[finding.state])
        table.add_row(output.make_id_cell(finding.what), state, Text(output.make_harmless(told)))
    output.make_console().print(table)
