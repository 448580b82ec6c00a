"""``memory-proxy demo``: memory at work, with no key and no network."""

import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from proxy.cli import options

if TYPE_CHECKING:
    from proxy.bench.rehearsal import Rehearsal, Step


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
    from proxy.bench.servers import USER_HEADER, Conditions, start_proxy, wait_ready
    from proxy.mock.upstream import UpstreamThread

    console = Console(highlight=False)
    conditions = Conditions.read(config)
    began = time.perf_counter()
    with UpstreamThread() as upstream, start_proxy(upstream.url, data_dir, conditions) as proxy:
        wait_ready(proxy.url())
        _say(console, f"The proxy and a mock upstream are up after {time.perf_counter() - began:.1f} s.")
        with closing(Stage(proxy.url(), upstream, conditions)) as stage:
            rehearsal = stage.hold_sessions()
        _show(console, rehearsal)
        _show_usage(console, proxy.url(), f"{USER_HEADER}: {rehearsal.user}", rehearsal.second.said)
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
    console.rule("Session 1: the user tells something")
    for step in rehearsal.first:
        _show_step(console, step)
    console.rule(f"What was stored, {rehearsal.storing_s * 1000:.0f} ms later")
    console.print(_memory_table(rehearsal))
    console.rule("Session 2: a new conversation, with no history")
    _show_step(console, rehearsal.second)
    _say(console, "The system message, as the upstream received it:")
    console.print(Panel(_emphasise(rehearsal.system, rehearsal.instructions), expand=False))
    _say(console, "The same question without the proxy:")
    _show_step(console, rehearsal.without)
    verdict = "[green]Memory works.[/]" if rehearsal.worked else "[red]Memory did not work.[/]"
    console.print(f"{verdict}\n")


def _show_step(console: Console, step: "Step") -> None:
    told = [f"{name.removeprefix('x-memory-')} {value}" for name, value in sorted(step.memory.items())]
    notes = [f"{step.seconds * 1000:.0f} ms", *([f"memory: {', '.join(told)}"] if told else [])]
    lines = Table.grid(padding=(0, 2))
    lines.add_row("[bold]user[/]", escape(step.said))
    lines.add_row("[bold]assistant[/]", escape(step.answered))
    lines.add_row("", f"[dim]{escape('; '.join(notes))}[/]")
    console.print(lines, "")


def _memory_table(rehearsal: "Rehearsal") -> Table:
    table = Table("when", "who", "text")
    for memory in rehearsal.stored:
        table.add_row(memory["created_at"][:16].replace("T", " "), memory["role"], escape(memory["text"]))
    return table


def _emphasise(system: str, own: str) -> str:
    """The client's own part dim, what the proxy added as it is."""
    before, found, added = system.partition(own)
    return f"{escape(before)}[dim]{escape(found)}[/]{escape(added)}"


def _show_usage(console: Console, url: str, header: str, question: str) -> None:
    name, _, user = header.partition(": ")
    _say(console, "In your own code, this is all that changes:")
    line = f'client = OpenAI(base_url="{url}/v1", default_headers={{"{name}": "{user}"}})'
    console.print(f"\n  {escape(line)}\n", soft_wrap=True)
    _say(console, "Or from a shell:")
    body = f'{{"model": "mock", "messages": [{{"role": "user", "content": "{question}"}}]}}'
    console.print(f"\n  curl {url}/v1/chat/completions -H '{header}' -d '{escape(body)}'\n", soft_wrap=True)


def _wait_for_interrupt(console: Console) -> None:
    _say(console, "Both go on running. Ctrl-C ends them.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        _say(console, "Stopping.")


def _say(console: Console, text: str) -> None:
    console.print(escape(text))
