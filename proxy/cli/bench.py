"""``memory-proxy bench``: what the proxy costs on this machine."""

import json
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.cli import options, webpage

if TYPE_CHECKING:
    from proxy.bench.report import Report, Row

STYLES: Final = {True: "green", False: "red", None: ""}


Fleet = Annotated[
    float | None,
    typer.Option(
        min=1,
        metavar="SECONDS",
        help="Only this: three replicas behind nginx on one Chroma server and one Redis, any of them killed.",
    ),
]
Soak = Annotated[
    float | None,
    typer.Option(min=0.1, metavar="MINUTES", help="Only this: whether memory grows with chats of all kinds."),
]
Reembed = Annotated[
    int | None,
    typer.Option(
        min=1_000, metavar="N", help="Only this: N memories moved to another embedding model, the keeper killed."
    ),
]


def bench(
    context: typer.Context,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short run, of rougher numbers, on smaller stores.")] = False,
    store_size: Annotated[
        int | None, typer.Option(min=2_000, help="Memories in the large store.", show_default="100000 or, quick, 10000")
    ] = None,
    writing: Annotated[
        bool, typer.Option("--writing", help="Only this: how fast memories are stored, and what chats notice of it.")
    ] = False,
    kills: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only this: kill -9 at N random moments under load; count what is lost."),
    ] = None,
    fleet: Fleet = None,
    watching: Annotated[
        bool, typer.Option("--watching", help="Only this: what metrics, logs and spans cost a request.")
    ] = False,
    soak: Soak = None,
    reembed: Reembed = None,
    seed: Annotated[int, typer.Option(help="Of the random moments of --kills, --fleet and --reembed.")] = 5,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Chats a second that begin meanwhile.")] = 50,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report here too.")] = None,
    report_file: webpage.ReportFile = None,
) -> None:
    """Measure the proxy's own cost and latency against a built-in upstream, direct and proxied in alternation.

    Temporary stores are made in the data directory where one is given, and are removed at the end.
    """
    from proxy.bench.servers import Conditions

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it, too, removes the stores
    only, measure = _choose(
        quick=quick,
        store_size=store_size,
        writing=writing,
        watching=watching,
        kills=kills,
        fleet=fleet,
        soak=soak,
        reembed=reembed,
        seed=seed,
        rate=rate,
    )
    if report_file is not None:
        webpage.check_writable("--report", report_file)
    run = webpage.Run.begin(context)
    with options.reported(), Console(stderr=True).status("starting") as status:
        report = measure(status.update, Conditions.read(config), parent=data_dir)
    table = build_table(report)
    Console().print(table)
    if json_file is not None:
        webpage.write_file("--json", json_file, json.dumps(report.to_dict(), indent=2) + "\n")
    if report_file is not None:
        from proxy.cli.bench_page import write_bench_page

        write_bench_page(report_file, run, report, table, only)


def _choose(
    *,
    quick: bool,
    store_size: int | None,
    writing: bool,
    watching: bool,
    kills: int | None,
    fleet: float | None,
    soak: float | None,
    reembed: int | None,
    seed: int,
    rate: float,
) -> "tuple[str, Callable[..., Report]]":
    """What is to be measured, behind the option that asks for nothing but that."""
    from proxy.bench import stages
    from proxy.bench.durability import Ordeal
    from proxy.bench.fleet import Siege
    from proxy.bench.plan import FULL, QUICK
    from proxy.bench.reembedding import Removal

    if kills is not None:
        return "--kills", partial(stages.run_kills, Ordeal(kills=kills, seed=seed, rate=rate))
    if fleet is not None:
        return "--fleet", partial(stages.run_fleet, Siege(seconds=fleet, seed=seed, rate=rate))
    if reembed is not None:
        return "--reembed", partial(stages.run_reembedding, Removal(memories=reembed, seed=seed))
    if soak is not None:
        return "--soak", partial(stages.run_soaking, soak)
    plan = QUICK if quick else FULL
    if store_size is not None:
        plan = msgspec.structs.replace(plan, store_size=store_size)
    if watching:
        return "--watching", partial(stages.run_watch, plan)
    if writing:
        return "--writing", partial(stages.run_writing, plan)
    return "", partial(stages.run_benchmark, plan)


def build_table(report: "Report") -> Table:
    """The report as people read it; colour only says again what the number columns say."""
    table = Table(title="memory-proxy bench")
    table.add_column("what")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("target", justify="right", no_wrap=True)
    table.add_column("aim", justify="right", no_wrap=True)
    table.add_column("meaning", overflow="fold")
    for row in report.rows:
        table.add_row(row.name, _coloured(row), row.asked, row.aimed, row.meaning)
    return table


def _coloured(row: "Row") -> Text:
    return Text(row.measured, style=STYLES[row.met])
