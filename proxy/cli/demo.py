"""``memory-proxy demo``: memory at work, with no key and no network."""

import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from proxy.cli import options

if TYPE_CHECKING:
    from proxy.bench.rehearsal import Rehearsal, Step

# So that the inspector shows what the model was told.
SHOWN: Final = {"MEMORY_PROXY_TRACES__CONTENT": "true"}


def demo(
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
    once: Annotated[bool, typer.Option("--once", help="Do not stay: exit 0 if memory worked, else 1.")] = False,
) -> None:
    """Hold a two-session conversation through the proxy and show what was remembered; needs no key and no network.

    Memories are temporary unless a data directory is given.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it, too, leaves by way of the clean-up
    with options.reported(), _folder(data_dir) as folder:
        worked = _perform(config, folder, stay=not once)
    if not worked:
        raise typer.Exit(options.FAILURE)


def _perform(config: Path | None, data_dir: Path, *, stay: bool) -> bool:
    """The whole show; whether memory worked."""
    from proxy.bench.rehearsal import Stage
    from proxy.bench.servers import Conditions, start_proxy, wait_ready
    from proxy.mock.upstream import UpstreamThread

    console = Console(highlight=False)
    conditions = Conditions.read(config)
    if config is None:  # what the inspector then shows is nobody's
        conditions = msgspec.structs.replace(conditions, variables=SHOWN)
    began = time.perf_counter()
    with ExitStack() as stack:
        with console.status("Starting a model that needs no key, and the proxy in front of it …"):
            upstream = stack.enter_context(UpstreamThread())
            proxy = stack.enter_context(start_proxy(upstream.url, data_dir, conditions))
            wait_ready(proxy.url())
        starting_s = time.perf_counter() - began
        _say(console, f"The proxy and a mock upstream are up after {starting_s:.1f} s.\n")
        with console.status("Talking …"), closing(Stage(proxy.url(), upstream, conditions)) as stage:
            rehearsal = stage.hold_sessions()
        _show(console, rehearsal)
        _show_times(console, rehearsal, starting_s)
        _show_usage(console, proxy.url(), rehearsal)
        if stay:
            _wait_for_interrupt(console)
    return rehearsal.worked


@contextmanager
def _folder(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is not None:
        yield data_dir
        return
    with tempfile.TemporaryDirectory(prefix="memory-proxy-demo-") as folder:
        yield Path(folder)


def _show(console: Console, rehearsal: "Rehearsal") -> None:
    console.rule("1 · The user tells something", align="left")
    for step in rehearsal.first:
        _show_step(console, step)
    console.rule(f"2 · What is stored, {_ms(rehearsal.storing_s)} later", align="left")
    console.print(_memory_table(rehearsal), "")
    console.rule("3 · A new conversation, which sends nothing of the first", align="left")
    _show_step(console, rehearsal.second)
    _say(console, "The system message, as the upstream received it:")
    console.print(Panel(_emphasise(rehearsal.system, rehearsal.instructions), expand=False))
    _say(console, "The same question without the proxy:\n")
    _show_step(console, rehearsal.without)
    verdict = "[bold green]Memory works.[/]" if rehearsal.worked else "[bold red]Memory did not work.[/]"
    console.print(f"{verdict}\n")


def _show_step(console: Console, step: "Step") -> None:
    lines = Table.grid(padding=(0, 2))
    lines.add_row("[bold]user[/]", escape(step.said))
    lines.add_row("[bold]assistant[/]", escape(step.answered))
    lines.add_row("", f"[dim]{escape(_describe(step))}[/]")
    console.print(lines, "")


def _describe(step: "Step") -> str:
    """How long it took, and what memory did."""
    told = {name.removeprefix("x-memory-"): value for name, value in step.memory.items()}
    if not told:
        return _ms(step.seconds)
    found = {"empty": "nothing known yet", "injected": f"{told.get('count')} memories in {told.get('tokens')} tokens"}
    status = told.get("status", "")
    return f"{_ms(step.seconds)}, of which memory {_round(told.get('recall-ms'))} ms: {found.get(status, status)}"


def _memory_table(rehearsal: "Rehearsal") -> Table:
    table = Table("when", "who", "text", box=SIMPLE_HEAD, pad_edge=False)
    for memory in rehearsal.stored:
        table.add_row(memory["created_at"][:16].replace("T", " "), memory["role"], escape(memory["text"]))
    return table


def _emphasise(system: str, own: str) -> str:
    """The client's own part dim, what the proxy added as it is."""
    before, found, added = system.partition(own)
    return f"{escape(before)}[dim]{escape(found)}[/]{escape(added)}"


def _show_times(console: Console, rehearsal: "Rehearsal", starting_s: float) -> None:
    table = Table("step", "took", box=SIMPLE_HEAD, pad_edge=False)
    table.columns[1].justify = "right"
    table.add_row("proxy and mock upstream start", _ms(starting_s))
    for number, step in enumerate(rehearsal.first, 1):
        table.add_row(f"message {number} of the first conversation", _ms(step.seconds))
    table.add_row("what was said is stored, and can be found", _ms(rehearsal.storing_s))
    table.add_row("the question in the second conversation", _ms(rehearsal.second.seconds))
    recalled = rehearsal.second.memory.get("x-memory-recall-ms")
    if recalled is not None:
        table.add_row("… of which finding what matters", f"{_round(recalled)} ms")
    table.add_row("the same question without the proxy", _ms(rehearsal.without.seconds))
    console.print(table, "")


def _show_usage(console: Console, url: str, rehearsal: "Rehearsal") -> None:
    from proxy.bench.servers import USER_HEADER

    _say(console, "In your own code, this is all that changes:")
    line = f'client = OpenAI(base_url="{url}/v1", default_headers={{"{USER_HEADER}": "{rehearsal.user}"}})'
    console.print(f"\n  {escape(line)}\n", soft_wrap=True)
    _say(console, "Or from a shell:")
    body = f'{{"model": "mock", "messages": [{{"role": "user", "content": "{rehearsal.second.said}"}}]}}'
    header = f"{USER_HEADER}: {rehearsal.user}"
    console.print(f"\n  curl {url}/v1/chat/completions -H '{header}' -d '{escape(body)}'\n", soft_wrap=True)
    _say(console, f"What it remembers, and each request as it comes: {url}/ui")
    _say(console, "With a model of your own: memory-proxy serve --upstream https://api.openai.com/v1")


def _round(milliseconds: str | None) -> str:
    return f"{float(milliseconds or 0):,.1f}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _wait_for_interrupt(console: Console) -> None:
    _say(console, "Both go on running. Ctrl-C ends them.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        _say(console, "Stopping.")


def _say(console: Console, text: str) -> None:
    console.print(escape(text), soft_wrap=True)
