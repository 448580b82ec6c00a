"""Every block of the README is tried as a reader would: pasted, typed, loaded or sent. One that nobody tries is a
failure.

Each says its language: ``python`` and ``js`` are run against a proxy, ``sh`` is typed, ``yaml`` is loaded by what it is
for, ``env`` are variables of a program, ``json`` and ``http`` are answers, ``text`` is a prompt. The user is ada, or
``user_id`` (``userId`` in ``js``), which a block may use without saying where it comes from, as it may ``secret`` and
``conversation_id``. Where a block only makes a client, the client is asked something.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import httpx2
import pytest

from proxy.config import DEFAULT_TEMPLATE, ENV_PREFIX, MEMORIES
from tests.readers import (
    Stage,
    ask,
    is_curl_there,
    is_node_there,
    open_stage,
    read_javascript,
    read_python,
    read_shell,
)
from tests.readme import Block, Document, read_document, read_readme
from tests.recipes import COMMANDS, check_call, check_open_webui, check_settings, check_yaml

README: Final = read_readme()
_DIAGRAMS: Final = ("flowchart", "sequenceDiagram")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("readme")) as opened:
        yield opened


def try_python(stage: Stage, block: Block) -> None:
    read_python(stage, block)


def try_javascript(stage: Stage, block: Block) -> None:
    if not is_node_there():
        pytest.skip("npm ci --prefix tests/sdk/node")
    read_javascript(stage, block)


def try_shell(stage: Stage, block: Block) -> None:
    """Commands are read one by one; a chat that curl sends is remembered."""
    if "curl" in block.text and not is_curl_there():
        pytest.skip("apt-get install curl")
    calls = read_shell(stage, block, COMMANDS)
    if stage.upstream.chats:
        stage.check_mode(block.text)
    assert calls or "curl" in block.text, "the block has no command"
    for call in calls:
        check_call(stage, call)


def try_env(stage: Stage, block: Block) -> None:
    """Variables: the proxy's own, or Open WebUI's."""
    environ = dict(re.findall(r"^(\w+)=(.*)$", block.text, re.MULTILINE))
    own = {name: value for name, value in environ.items() if name.startswith(ENV_PREFIX)}
    check_settings(own)
    if others := {name: value for name, value in environ.items() if name not in own}:
        check_open_webui(stage, others)


def ask_twice(stage: Stage) -> httpx2.Response:
    """What the proxy answers who has said something before."""
    user = {"X-User-Id": stage.user}
    ask(stage.proxy.url, user, said="My dog is called Biscuit, and she is a beagle.")
    stage.proxy.flush()
    return ask(stage.proxy.url, user)


def try_json(stage: Stage, block: Block) -> None:
    """An answer of the proxy's: with the fields that the real one has."""
    told = json.loads(block.text)
    ask_twice(stage)
    path = f"/memory/users/{stage.user}"
    answers = [
        stage.proxy.call("GET", f"{path}/memories").json(),
        stage.proxy.call("GET", "/memory/users").json(),
        stage.proxy.call("POST", "/memory/flush").json(),
        stage.proxy.call("POST", f"{path}/recall", json={"query": "my dog"}).json(),
        stage.proxy.call("GET", "/memory/journal").json(),
        ask(stage.proxy.url, {"X-User-Id": "x" * 300}).json(),
    ]
    assert told.keys() in [answer.keys() for answer in answers], f"no answer has {sorted(told)}"
    if "error" in told:
        assert told["error"].keys() == answers[-1]["error"].keys()
        assert told["error"]["code"].startswith("memory_proxy_")


def try_http(stage: Stage, block: Block) -> None:
    """The head of an answer: a real one has these headers of ours, too."""
    first, *lines = block.text.splitlines()
    assert re.fullmatch(r"HTTP/1\.1 200( OK)?", first), first
    headers = {line.partition(":")[0].lower() for line in lines if ":" in line}
    assert {name for name in headers if name.startswith("x-memory")} <= ask_twice(stage).headers.keys()


def try_text(_: Stage, block: Block) -> None:
    """A prompt with memories in it: in the words of the template, a dated line each."""
    opening, closing = (" ".join(part.split()) for part in DEFAULT_TEMPLATE.split(MEMORIES))
    prompt = " ".join(block.text.split())
    assert opening in prompt
    assert prompt.endswith(closing)
    lines = block.text.partition("earlier ones.\n")[2].splitlines()[:-1]
    assert lines
    assert all(re.match(r"- \d{4}-\d\d-\d\d(, [\w ]+)?: ", line) for line in lines)


def try_mermaid(_: Stage, block: Block) -> None:
    """A picture of a known kind, with all that it opens closed."""
    assert block.text.startswith(_DIAGRAMS)
    words = block.text.split()
    assert words.count("subgraph") == words.count("end")
    for opened, closed in ("[]", "()", '""'):
        assert block.text.count(opened) == block.text.count(closed)


TRIALS: Final[Mapping[str, Callable[[Stage, Block], None]]] = {
    "python": try_python,
    "js": try_javascript,
    "sh": try_shell,
    "yaml": check_yaml,
    "env": try_env,
    "json": try_json,
    "http": try_http,
    "text": try_text,
    "mermaid": try_mermaid,
}


def try_block(stage: Stage, block: Block) -> None:
    stage.begin()
    assert block.language in TRIALS, f"line {block.line}: nobody tries blocks of {block.language or 'no language'}"
    TRIALS[block.language](stage, block)


@pytest.mark.parametrize("block", README.blocks, ids=str)
def test_every_block_works(stage: Stage, block: Block) -> None:
    """What a reader does with it comes out as it says."""
    try_block(stage, block)


def make(language: str, *lines: str) -> Block:
    (block,) = read_document("\n".join([f"```{language}", *lines, "```"])).blocks
    return block


CLIENT: Final = 'client = OpenAI(base_url="http://127.0.0.1:8787/v1", default_headers={"X-User-Id": "ada"})'
LIBRECHAT: Final = """\
endpoints:
  custom:
    - name: Memory
      apiKey: "${OPENAI_API_KEY}"
      baseURL: "http://127.0.0.1:8787/v1"
      models: {default: ["gpt-4o-mini"]}
      dropParams: ["user"]
      headers: {X-User-Id: "{{LIBRECHAT_USER_ID}}", X-Conversation-Id: "{{LIBRECHAT_BODY_CONVERSATIONID}}"}
"""
LITELLM: Final = """\
model_list:
  - model_name: gpt-4o-mini
    litellm_params: {model: openai/gpt-4o-mini, api_base: "http://127.0.0.1:8787/v1", api_key: sk}
general_settings: {forward_client_headers_to_llm_api: true}
"""
COMPOSE: Final = """\
services:
  memory-proxy:
    image: memory-proxy
    environment: {MEMORY_PROXY_UPSTREAM__API_KEY: "${OPENAI_API_KEY}"}
    volumes: ["memories:/data"]
volumes: {memories: {}}
"""
OPEN_WEBUI: Final = """\
OPENAI_API_BASE_URL=http://127.0.0.1:8787/v1
ENABLE_FORWARD_USER_INFO_HEADERS=true
FORWARD_USER_INFO_HEADER_USER_ID=X-User-Id
FORWARD_SESSION_INFO_HEADER_CHAT_ID=X-Conversation-Id
"""
TOKENS: Final = "identity: {mode: jwt, jwt: {algorithms: [HS256], key: '${KEY}', issuer: open-webui}}"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("yaml", LIBRECHAT),
        ("yaml", LITELLM),
        ("yaml", COMPOSE),
        ("yaml", TOKENS),
        ("env", OPEN_WEBUI),
        ("json", '{"stored": 1, "failed": 0}'),
        ("http", "HTTP/1.1 200 OK\nX-Memory-Status: injected\nX-Memory-Count: 2"),
        ("sh", "pip install openai 'memory-proxy[redis]' && memory-proxy users"),
        ("sh", "docker run --rm -p 127.0.0.1:8787:8787 -v memories:/data -e OPENAI_API_KEY=sk memory-proxy check"),
        ("python", f"from openai import OpenAI\n\n{CLIENT}"),
    ],
)
def test_what_is_right_passes(stage: Stage, language: str, text: str) -> None:
    """Of each kind one, whether the README has it or not."""
    try_block(stage, make(language, *text.splitlines()))


WRONG: Final = [
    ("rust", "fn main() {}", "nobody tries blocks of rust"),
    ("", "something", "no language"),
    ("python", "import opanai", "No module named 'opanai'"),
    ("python", "answer = 1", "neither asks anything nor makes a client"),
    ("python", f"from openai import OpenAI\n{CLIENT.replace('X-User-Id', 'X-User')}", "is not remembered of ada"),
    ("sh", "memory-proxy serve --upstraem https://api.openai.com/v1", "No such option"),
    ("sh", "memory-proxy serve --upstream api.openai.com", "upstream.base_url"),
    ("sh", "memory-proxy remind ada", "no command remind"),
    ("sh", "MEMORY_PROXY_MEMORY__MODUS=full memory-proxy serve", "memory.modus"),
    ("sh", "wget http://127.0.0.1:8787/v1/models", "not found"),
    ("sh", "docker run -p 8787:8080 memory-proxy", "8080"),
    ("sh", "pip install memory-proxy[everything]", "everything"),
    ("sh", "pip install langchain-opanai", "langchain-opanai"),
    ("sh", "npm install @ai-sdk/opanai", "opanai"),
    ("yaml", "memory: {placement: top}", "memory.placement"),
    ("yaml", "memmory: {}", "memmory"),
    ("yaml", TOKENS.replace("algorithms", "algorithm"), "identity.jwt"),
    ("yaml", LIBRECHAT.replace("LIBRECHAT_USER_ID", "LIBRECHAT_USERID"), "does not know"),
    ("yaml", LIBRECHAT.replace("X-User-Id", "X-User"), "is not remembered of ada"),
    ("yaml", LIBRECHAT.replace(":8787/v1", ":8787"), "8787"),
    ("yaml", LITELLM.replace("client_headers", "headers"), "is not remembered of ada"),
    ("yaml", COMPOSE.replace("/data", "/memories"), "/memories"),
    ("yaml", COMPOSE.replace("image: memory-proxy", "imago: memory-proxy"), "imago"),
    ("yaml", COMPOSE.replace("UPSTREAM__API_KEY", "UPSTREAM__APIKEY"), "upstream.apikey"),
    ("env", OPEN_WEBUI.replace("USER_ID=X-User-Id", "USER_ID=X-User"), "is not remembered of ada"),
    ("env", OPEN_WEBUI.replace("ENABLE_FORWARD", "FORWARD"), "Open WebUI is told"),
    ("env", "MEMORY_PROXY_MEMORY__MODUS=full", "memory.modus"),
    ("json", '{"stored": 1, "lost": 0}', "no answer has"),
    ("http", "HTTP/1.1 200 OK\nX-Memory-State: injected", "x-memory-state"),
    ("text", "<memory>\n</memory>", "assert"),
    ("mermaid", "flowchart LR\n  A[one --> B", "assert"),
]


@pytest.mark.parametrize(("language", "text", "told"), WRONG, ids=[f"{kind}-{told}" for kind, _, told in WRONG])
def test_what_is_wrong_is_told(stage: Stage, language: str, text: str, told: str) -> None:
    """A typing mistake in any kind of block is noticed, and named."""
    with pytest.raises(BaseException, match=re.escape(told)):
        try_block(stage, make(language, *text.splitlines()))


def test_javascript_that_is_wrong_is_told(stage: Stage) -> None:
    """A client without a user reaches the upstream, and nothing is remembered."""
    block = make(
        "js",
        'import OpenAI from "openai";',
        'const client = new OpenAI({baseURL: "http://127.0.0.1:8787/v1", defaultHeaders: {"X-User": "ada"}});',
    )
    with pytest.raises(AssertionError, match="is not remembered of ada"):
        try_block(stage, block)


def test_a_block_has_what_stands_above_it(stage: Stage) -> None:
    """Under one heading a reader goes on with what he has; under the next he begins anew."""
    lines = ["# One", "```python", "from openai import OpenAI", CLIENT, "```", "", "```python", "client.chat", "```"]
    one, two = read(*lines).blocks
    assert two.before == (one,)
    try_block(stage, two)
    lines[5] = "# Two"
    _, other = read(*lines).blocks
    assert other.before == ()
    with pytest.raises(AssertionError, match="name 'client' is not defined"):
        try_block(stage, other)


def read(*lines: str) -> Document:
    return read_document("\n".join(lines))


def test_documents_are_read() -> None:
    """Blocks of any number of backticks, also within lists; links, anchors and codes outside of them only."""
    document = read(
        "# `memory-proxy`: it's (new)",
        "See [this](deploy/README.md), [that `code`](#here) and `not [this](one)`; ![a picture](x.png).",
        "- an entry",
        "  ````sh",
        "  echo '```' # [no](link)",
        "    indented",
        "  ````",
        "| a | b |",
        "|---|---|",
        r"| `x \| y` | 2 |",
    )
    (block,) = document.blocks
    assert (block.language, block.line, block.text) == ("sh", 4, "echo '```' # [no](link)\n  indented\n")
    assert document.links == ["deploy/README.md", "#here"]
    assert document.anchors == {"memory-proxy-its-new"}
    assert [code for _, code in document.codes][:2] == ["memory-proxy", "code"]
    assert document.find_table("a", "b") == [["`x | y`", "2"]]
    with pytest.raises(AssertionError, match="line 1 is not closed"):
        read("```sh", "echo")
