"""``memory-proxy reembed``: all memories get vectors of the embedding model that is configured."""

from typing import Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from proxy.cli import opening, options, output
from proxy.keeper.moves import ReembeddingState

# What shells say of a command that Ctrl-C has ended.
INTERRUPTED: Final = 130
HERE: Final = "interrupted: memories are found as before; run memory-proxy reembed again to go on"
THERE: Final = "interrupted, and the server goes on; memory-proxy reembed --server {} shows how far it is"


def reembed(
    again: Annotated[
        bool,
        typer.Option("--again", help="Embed everything anew: behind the same name there is another model than before."),
    ] = False,
    as_json: options.AsJson = False,
    server: options.ServerUrl = None,
    config: options.ConfigFile = None,
    data_dir: options.DataDir = None,
) -> None:
    """Move all memories to the configured embedding model. Until that is done they are found by their old vectors.

    Interrupted, it goes on where it was when it is run again.
    """
    settings = options.load(config, data_dir)
    with _make_progress() as progress:
        bar = Bar(progress)
        try:
            state = opening.run(lambda memories: memories.reembed(again=again, progress=bar.show), settings, server)
        except KeyboardInterrupt:
            options.fail(HERE if server is None else THERE.format(server), INTERRUPTED)
    if as_json:
        output.print_json(state)
    else:
        output.make_console().print(output.make_harmless(_describe(state, bar.before)), soft_wrap=True)


class Bar:
    """Shows how far it is. *before*: what was in force at first."""

    def __init__(self, progress: Progress) -> None:
        self.before: str | None = None
        self._progress = progress
        self._task = progress.add_task("reembedding", total=None, memories="")

    def show(self, state: ReembeddingState) -> None:
        """It is so far now."""
        self.before = self.before or state.serving
        told = f"{state.done:,} of {state.total:,} memories, {state.rate:,.0f}/s"
        self._progress.update(
            self._task, description=state.state, total=state.total or None, completed=state.done, memories=told
        )


def _describe(state: ReembeddingState, before: str | None) -> str:
    if state.serving is None:
        return "nothing to do: nothing is stored yet"
    if not state.moved and before in (None, state.serving):
        return f"nothing to do: {output.count(state.total, 'memory')} by {state.serving}"
    given = f"; {state.moved:,} were given a vector, {state.rate:,.0f} a second" if state.moved else ""
    return f"{output.count(state.total, 'memory')} by {state.serving} from now on{given}"


def _make_progress() -> Progress:
    console = output.make_console(stderr=True)
    text = (TextColumn("{task.description}"), TextColumn("{task.fields[memories]}"))
    bar = (text[0], BarColumn(), TaskProgressColumn(), text[1], TimeRemainingColumn())
    return Progress(*bar, console=console, disable=not console.is_terminal)
