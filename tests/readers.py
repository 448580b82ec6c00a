"""Readers of the README, who do what it says: paste its Python and JavaScript, and type its commands into a shell.

They have a real proxy in front of the built-in upstream, in place of what the README calls ``http://127.0.0.1:8787``.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from proxy.mock.upstream import MockUpstream
from tests import harness
from tests.harness import run_proxy
from tests.processes import REPOSITORY, WAIT_S, Proxy, clean_environment, read_body, serve_in_thread
from tests.readme import Block

T = TypeVar("T")
Work = Callable[[harness.Proxy], Awaitable[T]]
Memories = Sequence[Mapping[str, Any]]

# The user of all examples.
USER: Final = "ada"
CONVERSATION: Final = "talk-1"
SECRET: Final = "a-secret-of-the-reader-that-is-long-enough"
KEY: Final = "sk-of-the-reader"
# The proxy's address as documents write it, also from within a container.
PROXY: Final = re.compile(r"http://(?:127\.0\.0\.1|localhost|host\.docker\.internal|memory-proxy|proxy):8787")
CHAT: Final = "/chat/completions"
# What only the proxy reads, and never passes on.
OURS: Final = frozenset(
    {"x-user-id", "x-conversation-id", "x-memory-mode", "x-user-token", "x-user-signature", "x-openwebui-user-id"}
)
NODE: Final = REPOSITORY / "tests" / "sdk" / "node"
# What is said where a block only makes a client.
QUESTION: Final = "What was the name of my dog again?"

# What is no id, but stands for one.
_VARIABLES: Final = frozenset({"user_id", "userId", "user", "f"})
_USER_ID: Final = re.compile(r"""X-User-Id["']?\s*[:=]\s*["']?([\w.@-]+)|\buser\b["']?\s*[:=]\s*["']([\w.@-]+)["']""")


class Visit(NamedTuple):
    """One request as the upstream read it."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> str:
        """The last message, if it is a chat."""
        content = json.loads(self.body)["messages"][-1]["content"]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


class Upstream:
    """The built-in upstream, which keeps what it was asked, and has the paths of Azure as well."""

    def __init__(self) -> None:
        self.url = ""
        self.visits: list[Visit] = []
        self._mock = MockUpstream()

    @property
    def chats(self) -> list[Visit]:
        return [visit for visit in self.visits if visit.path.endswith(CHAT)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.visits.append(Visit(scope["path"], headers, body))
        path = f"/v1{CHAT}" if scope["path"].endswith(CHAT) else scope["path"]

        async def replay() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._mock({**scope, "path": path}, replay, send)


class Pasting:
    """The process that runs Python. It is started when there is some, and again after a failure."""

    def __init__(self, folder: Path) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._errors = folder / "errors"

    def run(self, text: str, *, needs: Sequence[str] = (), names: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What came of it. With *names* it begins anew, without it goes on where it was."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        job = {"text": text, "needs": list(needs), **({} if names is None else {"names": dict(names)})}
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        if not (line := process.stdout.readline()):
            self.close()
            raise AssertionError(self._errors.read_text("utf-8"))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[str]:
        with self._errors.open("w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.pasting"],
                env=clean_environment({"OPENAI_API_KEY": KEY, "AZURE_OPENAI_API_KEY": KEY}),
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=WAIT_S)
            self._process = None


class Call(NamedTuple):
    """A command that a block has called: its name, what followed, and the settings in its environment."""

    name: str
    arguments: list[str]
    environ: dict[str, str]


@dataclass
class Stage:
    """What blocks are tried on. *folder* is for their files; *user* is ada's id in the block that is being tried: each
    block has another one, or what an earlier one left behind would look like its own.
    """

    proxy: Proxy
    upstream: Upstream
    folder: Path
    pasting: Pasting
    user: str = ""
    tried: int = 0
    served: set[str] = field(default_factory=set)

    @property
    def names(self) -> dict[str, str]:
        """What a block may use without saying where it comes from."""
        return {"user_id": self.user, "secret": SECRET, "conversation_id": CONVERSATION}

    def begin(self) -> None:
        """The next block."""
        self.tried += 1
        self.user = f"{USER}-{self.tried}"
        self.upstream.visits.clear()

    def adapt(self, text: str) -> str:
        """With the proxy's real address, and the block's own ada."""
        return re.sub(rf"\b{USER}\b", self.user, PROXY.sub(self.proxy.url, text))

    def check_chat(
        self, user: str | None, *, conversation: str | None = None, memories: Memories | None = None
    ) -> None:
        """A chat has reached the upstream as it should, and is remembered of this user, if any; of one who has spoken
        to another proxy, these are the *memories*.
        """
        assert self.upstream.chats, "no chat came to the upstream"
        chat = self.upstream.chats[-1]
        assert OURS.isdisjoint(chat.headers), f"went upstream: {OURS & chat.headers.keys()}"
        if user is None:
            return
        if memories is None:
            self.proxy.flush()
            memories = self.proxy.memories(user)
        found = [memory for memory in memories if memory["role"] == "user" and memory["text"] == chat.said]
        assert found, f"{chat.said!r} is not remembered of {user}"
        assert conversation in (None, found[0]["conversation_id"])

    def check_mode(self, text: str) -> None:
        """The same of the block's user, unless it says that nothing is to be stored."""
        is_stored = re.search(r"X-Memory-Mode[\"']?\s*[:=]\s*[\"']?(read|shadow|off)", text) is None
        self.check_chat(find_user(self.adapt(text), self.user) if is_stored else None)


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """One proxy and one upstream for all blocks."""
    upstream = Upstream()
    with serve_in_thread(upstream) as upstream.url, Proxy(folder / "data", upstream.url) as proxy:
        proxy.wait_ready()
        stage = Stage(proxy, upstream, folder, Pasting(folder))
        try:
            yield stage
        finally:
            stage.pasting.close()


def find_user(text: str, default: str) -> str:
    """Whose chat a block is, where it says so literally."""
    for header, field_ in _USER_ID.findall(text):
        if (found := header or field_) not in _VARIABLES:
            return str(found)
    return default


def read_python(stage: Stage, block: Block) -> None:
    """Pasted, with what stands above it. Where it only makes a client, that is asked something."""
    needs = [name for name in ("llama_index",) if name in block.text]
    for above in block.before:
        stage.pasting.run(stage.adapt(above.text), needs=needs, names=stage.names if above is block.before[0] else None)
    stage.upstream.visits.clear()
    answer = stage.pasting.run(stage.adapt(block.text), needs=needs, names=None if block.before else stage.names)
    if answer["missing"]:
        # Wants an openai of its own, older than ours: it cannot live beside the proxy, and its users do not need it to.
        compile(block.text, str(block), "exec")
        assert PROXY.search(block.text)
    elif "X-User-Signature" in block.text:
        headers = answer["names"]["headers"]
        check_identity(stage, {"mode": "signed", "secrets": [SECRET]}, headers, {**headers, "X-User-Id": "eve"})
    else:
        if not stage.upstream.visits:
            stage.pasting.run(_ask_in_python(answer["names"]))
        stage.check_mode(block.text)


def _ask_in_python(names: Mapping[str, Any]) -> str:
    if "client" in names:
        ask = f"client.chat.completions.create(model='m', messages=[{{'role': 'user', 'content': {QUESTION!r}}}])"
        return f"import inspect\nanswer = {ask}\nif inspect.isawaitable(answer):\n    await answer\n"
    for name in ("llm", "model", "chat"):
        if name in names:
            return f"{name}.invoke({QUESTION!r})"
    raise AssertionError("the block neither asks anything nor makes a client")


def run_own(stage: Stage, work: Work[T], *, ready: bool = False, environ: Mapping[str, str] = {}, **sections: Any) -> T:
    """What *work* gives with a proxy of its own, in this process, which has these variables and *sections*."""

    async def run() -> T:
        folder = stage.folder / f"own-{stage.tried}"
        async with run_proxy(folder, stage.upstream.url, ready=ready, **sections) as proxy:
            return await work(proxy)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        return asyncio.run(run())


def check_identity(stage: Stage, identity: Any, good: Mapping[str, str], bad: Mapping[str, str]) -> None:
    """A proxy that is configured so believes the *good* headers, and not the *bad* ones."""

    async def work(proxy: harness.Proxy) -> tuple[httpx2.Response, httpx2.Response]:
        return await asyncio.to_thread(ask, proxy.url, good), await asyncio.to_thread(ask, proxy.url, bad)

    believed, refused = run_own(stage, work, identity=identity)
    assert (believed.status_code, refused.status_code) == (200, 401), (believed.text, refused.text)
    assert believed.headers["x-memory-status"] != "anonymous"


def ask(
    url: str, headers: Mapping[str, str], path: str = f"/v1{CHAT}", *, said: str = QUESTION, **more: Any
) -> httpx2.Response:
    """One chat, as a client of any kind sends it."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": said}], **more}
    with httpx2.Client(trust_env=False, timeout=WAIT_S) as client:
        return client.post(f"{url}{path}", headers={"Authorization": f"Bearer {KEY}", **headers}, json=body)


def is_node_there() -> bool:
    return shutil.which("node") is not None and (NODE / "node_modules").is_dir()


def read_javascript(stage: Stage, block: Block) -> None:
    """Run by Node with the packages that ``npm ci`` has installed; where it only makes a client, that is asked."""
    modules = stage.folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(NODE / "node_modules")
    file = stage.folder / f"line-{block.line}.mjs"
    names = f"globalThis.userId = {json.dumps(stage.user)};\n"
    # A module imports once: what begins with its imports stands alone.
    above = "" if "import " in block.text else "".join(one.text for one in block.before)
    asks = re.search(r"\bawait\b|\.then\(", block.text)
    question = json.dumps({"model": "m", "messages": [{"role": "user", "content": QUESTION}]})
    probe = "" if asks else f"\nawait client.chat.completions.create({question});\n"
    (stage.folder / "names.mjs").write_text(names)
    file.write_text('import "./names.mjs";\n' + stage.adapt(above + block.text) + probe)
    done = subprocess.run(
        ["node", file],
        env=clean_environment({"OPENAI_API_KEY": KEY}),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stage.check_mode(block.text)


_RECORDER: Final = """#!{python} -SE
import json, os, sys
kept = {{name: value for name, value in os.environ.items() if name.startswith(("MEMORY_PROXY_", "OPENAI_"))}}
with open({log!r}, "a") as log:
    log.write(json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], kept]) + "\\n")
"""


def read_shell(stage: Stage, block: Block, commands: Sequence[str]) -> list[Call]:
    """Typed into a real shell, where curl is real and *commands* are only recorded, for others to look at them.

    One that nobody knows is not found, which is a failure.
    """
    tools = stage.folder / "tools"
    log = stage.folder / "calls"
    log.unlink(missing_ok=True)
    if not tools.exists():
        tools.mkdir()
        for name in commands:
            _write_tool(tools / name, _RECORDER.format(python=sys.executable, log=str(log)))
        _write_tool(tools / "curl", f'#!/bin/sh\nexec {shutil.which("curl")} -sS --fail-with-body --max-time 20 "$@"\n')
    done = subprocess.run(
        ["/bin/sh", "-euc", stage.adapt(block.text).replace(".venv/bin/", "")],
        cwd=stage.folder,
        env={"PATH": str(tools), "OPENAI_API_KEY": KEY, "ADMIN_TOKEN": SECRET, "HOME": str(stage.folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if not log.exists():
        return []
    return [Call(*json.loads(line)) for line in log.read_text().splitlines()]


def _write_tool(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def is_curl_there() -> bool:
    return shutil.which("curl") is not None


def is_address_of_proxy(url: str) -> bool:
    """Whether a base URL is the proxy's, with the path that clients need."""
    return PROXY.match(url) is not None and urlsplit(url).path.rstrip("/") == "/v1"
