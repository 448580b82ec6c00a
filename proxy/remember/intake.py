"""What an import brings, at its place among what is stored.

Lines of an export have no chains. They are made anew, of what of the conversation is there: exactly, but where
something was not worth storing, was masked or written anew by hand. What then goes on live is found by
:func:`proxy.remember.branches.find_place`.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

from proxy import chain
from proxy.models import Memory, Scope
from proxy.remember.branches import replace_siblings
from proxy.remember.exported import state
from proxy.remember.lines import Brought
from proxy.remember.plan import Draft, Plan
from proxy.remember.shelf import Item


class Intake:
    """Adds to the plan of one user's memories what is not among them yet."""

    def __init__(self, scope: Scope, plan: Plan) -> None:
        self._scope = scope
        self._plan = plan
        self._threads: dict[str, _Thread] = {}

    def take(self, brought: Sequence[Brought]) -> int:
        """How many of *brought* are new, which are those whose ids nobody knows."""
        known = len(self._plan.shelf)
        for one in brought:
            if one.memory.id not in self._plan.shelf:
                self._add(one)
        return len(self._plan.shelf) - known

    def _add(self, brought: Brought) -> None:
        memory = brought.memory
        thread = self._thread(memory.conversation_id)
        draft = self._join(brought, thread)
        if brought.goes_on:
            replace_siblings(self._plan, draft)
        self._plan.add(draft)
        item = self._plan.shelf.get(memory.id)
        if item is not None and item.kind == "turn":
            thread.add(item)

    def _join(self, brought: Brought, thread: "_Thread") -> Draft:
        memory, end, start = brought.memory, brought.chain, brought.parent
        if memory.kind == "fact":
            source = _choose(thread.at(memory.message_index), memory)
            end = b"" if source is None else source.chain
        elif not end:
            before = _choose(thread.before(memory.message_index), memory)
            start = self._start(memory.conversation_id) if before is None else before.chain
            end = chain.extend(start, [brought.link])
        return Draft(memory, end, start, state(memory, brought.told))

    def _start(self, conversation_id: str) -> bytes:
        return chain.start(self._scope, None if chain.is_recognised(conversation_id) else conversation_id)

    def _thread(self, conversation_id: str) -> "_Thread":
        thread = self._threads.get(conversation_id)
        if thread is None:
            thread = self._threads[conversation_id] = _Thread()
            for item in self._plan.shelf.with_conversation(conversation_id):
                thread.add(item)
        return thread


class _Thread:
    """The turns of one conversation by their place in it. Several branches may have one at the same place."""

    def __init__(self) -> None:
        self._places: list[int] = []
        self._items: defaultdict[int, list[Item]] = defaultdict(list)

    def add(self, item: Item) -> None:
        if not item.chain:
            return  # stored when an import made none
        if item.index not in self._items:
            insort(self._places, item.index)
        self._items[item.index].append(item)

    def at(self, index: int) -> list[Item]:
        """Those at this place."""
        return self._items.get(index, [])

    def before(self, index: int) -> list[Item]:
        """Those at the nearest place before this one."""
        number = bisect_left(self._places, index)
        return self._items[self._places[number - 1]] if number else []


def _choose(items: Sequence[Item], memory: Memory) -> Item | None:
    """Which of several branches *memory* belongs to: what was abandoned together has the same in its place. Where that
    does not tell, what was stored last.
    """
    alike = [item for item in items if item.superseded_by == memory.superseded_by]
    return (alike or items)[-1] if items else None
