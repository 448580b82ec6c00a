"""What the README says of other programs, and of the proxy's own configuration and commands: each checked by what it is
for. What a program would send is sent, by its own rules, and has to come out as the right user's.
"""

import asyncio
import json
import re
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import jwt
import pytest
import typer
import yaml

from proxy import config
from proxy.cli.main import make_cli
from proxy.config import ENV_PREFIX, Settings
from tests import harness
from tests.commands import invoke
from tests.deployments import run_compose_on
from tests.processes import REPOSITORY, Chat, Proxy
from tests.readers import (
    CHAT,
    CONVERSATION,
    Call,
    Memories,
    Stage,
    ask,
    check_identity,
    is_address_of_proxy,
    run_own,
)
from tests.readme import Block

Tree = dict[str, Any]

# A reader's own secrets, wherever a file asks for one.
VARIABLE: Final = "a-value-of-the-reader-of-32-bytes"
_NAME: Final = re.compile(r"(?<!\$)\$\{(\w+)(?::-[^}]*|:\?[^}]*)?\}")
# What stands for something that every reader has to fill in.
_BLANK: Final = re.compile(r"<[^<>]+>|…")
_IMAGE: Final = "memory-proxy"
_OPEN_WEBUI: Final = "open-webui/open-webui"

# As Open WebUI 0.6.40 and later read them: backend/open_webui/env.py and utils/headers.py.
_FORWARDED: Final = {
    "ENABLE_FORWARD_USER_INFO_HEADERS": "false",
    "FORWARD_USER_INFO_HEADER_USER_ID": "X-OpenWebUI-User-Id",
    "FORWARD_USER_INFO_HEADER_JWT": "X-OpenWebUI-User-Jwt",
    "FORWARD_USER_INFO_HEADER_JWT_SECRET": "",
    "FORWARD_SESSION_INFO_HEADER_CHAT_ID": "X-OpenWebUI-Chat-Id",
}
_ITS_OWN: Final = {
    "OPENAI_API_BASE_URL",
    "OPENAI_API_BASE_URLS",
    "OPENAI_API_KEY",
    "OPENAI_API_KEYS",
    "WEBUI_AUTH",
    "ENABLE_OLLAMA_API",
}
# As LibreChat's packages/api/src/utils/env.ts has them.
_OF_USER: Final = ("id", "name", "username", "email", "provider", "role", "openidId", "samlId", "ldapId")
_OF_BODY: Final = ("conversationId", "parentMessageId", "messageId")


def check_call(stage: Stage, call: Call) -> None:
    """One command of a shell block. Of one that is not here, nothing is known, and the block is a failure."""
    _CALLS[call.name](stage, call)


def check_yaml(stage: Stage, block: Block) -> None:
    """By what it is: Docker Compose, LibreChat, LiteLLM, or the proxy's configuration."""
    tree = yaml.safe_load(block.text)
    for key, check in _FILES.items():
        if key in tree:
            check(stage, block, tree)
            return
    check_configuration(stage, block, tree)


def check_configuration(stage: Stage, block: Block, _: Tree) -> None:
    """Read by the loader that reads it in real life. Where it says how users are known, a proxy is asked that way."""
    names = dict.fromkeys(_NAME.findall(block.text), VARIABLE)
    numbers = iter(range(1, 100))
    filled = _BLANK.sub(lambda _: sha256(str(next(numbers)).encode()).hexdigest(), block.text)
    path = stage.folder / f"line-{block.line}.yaml"
    path.write_text(filled)
    settings = config.load(path, environ=names)
    if settings.identity.mode == "jwt" and settings.identity.jwt.is_symmetric:
        identity = yaml.safe_load(_NAME.sub(VARIABLE, filled))["identity"]
        good, bad = (make_token(settings, stage.user, key) for key in (VARIABLE, f"not {VARIABLE}"))
        check_identity(stage, identity, good, bad)


def make_token(settings: Settings, user: str, key: str) -> dict[str, str]:
    """The header with a token as the configuration wants it, signed with this key."""
    how = settings.identity.jwt
    told: Tree = {how.claim: user, "exp": int(time.time()) + 300}
    told |= {} if how.issuer is None else {"iss": how.issuer}
    told |= {} if how.audience is None else {"aud": how.audience}
    return {how.header: jwt.encode(told, key, algorithm=how.algorithms[0])}


# --- Docker Compose, Open WebUI ------------------------------------------------------------------------------------


def check_compose(stage: Stage, block: Block, tree: Tree) -> None:
    """Read by Docker Compose itself; then the proxy is run as it says, and Open WebUI speaks to it as it says."""
    path = stage.folder / f"line-{block.line}.yaml"
    path.write_text(block.text)
    names = dict.fromkeys(_NAME.findall(block.text), VARIABLE)
    done = run_compose_on(path, "config", "--format", "json", "--no-path-resolution", **names)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    services: Mapping[str, Tree] = json.loads(done.stdout)["services"]
    for name, service in services.items():
        assert set(service.get("depends_on") or {}) <= services.keys(), name
    proxies = [name for name, service in services.items() if is_proxy(service)]
    assert len(proxies) == 1, "one service is to be the proxy"
    check_container(services[proxies[0]])
    for service in services.values():
        if _OPEN_WEBUI in service.get("image", ""):
            check_open_webui(stage, service.get("environment") or {}, services[proxies[0]].get("environment") or {})


def is_proxy(service: Tree) -> bool:
    return "build" in service or re.fullmatch(rf"(\S+/)?{_IMAGE}(:\S+)?", service.get("image", "")) is not None


def check_container(service: Tree) -> None:
    """What a container of ours is told fits the image: its port, its volume, its settings and its command."""
    image = (REPOSITORY / "Dockerfile").read_text("utf-8")
    exposed = re.findall(r"^EXPOSE (\d+)$", image, re.MULTILINE)
    volumes = re.findall(r"^VOLUME (\S+)$", image, re.MULTILINE)
    for port in service.get("ports") or ():
        assert str(port["target"]) in exposed, port
    for volume in service.get("volumes") or ():
        assert volume["target"] in volumes or volume["target"].endswith(".yaml"), volume
    environ = service.get("environment") or {}
    check_settings(environ)
    parse([*(service.get("command") or ["serve"])])


def check_settings(environ: Mapping[str, str]) -> None:
    """Variables of the environment: each is one that the proxy knows, with a value that it takes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            assert name.startswith((ENV_PREFIX, "OPENAI_API_KEY")), f"the proxy does not know {name}"
            patch.setenv(name, value)
        config.load(environ=environ)


def check_open_webui(stage: Stage, environ: Mapping[str, str], ours: Mapping[str, str] | None = None) -> None:
    """A chat as Open WebUI sends it, with the headers that these variables have it send; to a proxy of its own where
    there are variables for one.
    """
    unknown = environ.keys() - _FORWARDED.keys() - _ITS_OWN
    assert not unknown, f"Open WebUI is told {unknown}"
    base = (environ.get("OPENAI_API_BASE_URLS") or environ["OPENAI_API_BASE_URL"]).split(";")[0]
    assert is_address_of_proxy(base), base
    headers = make_headers({**_FORWARDED, **environ}, stage.user)
    path = urlsplit(base).path + CHAT

    async def work(proxy: harness.Proxy) -> tuple[httpx2.Response, Memories]:
        return await asyncio.to_thread(ask, proxy.url, headers, path), await proxy.memories(stage.user)

    if ours is None:
        answer, memories = ask(stage.proxy.url, headers, path), None
    else:
        kept = {name: value for name, value in ours.items() if name.startswith(ENV_PREFIX)}
        answer, memories = run_own(stage, work, ready=True, environ=kept)
    assert answer.status_code == 200, answer.text
    named = "X-Conversation-Id" in headers
    stage.check_chat(stage.user, conversation=CONVERSATION if named else None, memories=memories)


def make_headers(how: Mapping[str, str], user: str) -> dict[str, str]:
    """What Open WebUI says of its user and chat."""
    if how["ENABLE_FORWARD_USER_INFO_HEADERS"].lower() != "true":
        return {}
    chat = {how["FORWARD_SESSION_INFO_HEADER_CHAT_ID"]: CONVERSATION}
    if not (secret := how["FORWARD_USER_INFO_HEADER_JWT_SECRET"]):
        return {**chat, how["FORWARD_USER_INFO_HEADER_USER_ID"]: user}
    now = int(time.time())
    told = {"sub": user, "email": "ada@example.com", "role": "user", "iss": "open-webui", "iat": now, "exp": now + 300}
    return {**chat, how["FORWARD_USER_INFO_HEADER_JWT"]: jwt.encode(told, secret, algorithm="HS256")}


# --- LibreChat, LiteLLM --------------------------------------------------------------------------------------------


def check_librechat(stage: Stage, _: Block, tree: Tree) -> None:
    """Each custom endpoint: a chat with its headers, as LibreChat fills them in."""
    endpoints = tree["endpoints"]["custom"]
    assert endpoints
    for endpoint in endpoints:
        assert {"name", "apiKey", "baseURL", "models"} <= endpoint.keys()
        assert is_address_of_proxy(endpoint["baseURL"]), endpoint["baseURL"]
        headers = {name: fill_in(value, stage.user) for name, value in (endpoint.get("headers") or {}).items()}
        user = {} if "user" in endpoint.get("dropParams", ()) else {"user": stage.user}
        answer = ask(stage.adapt(endpoint["baseURL"]), headers, CHAT, stream=True, **user)
        assert answer.status_code == 200, answer.text
        named = any(name.lower() == "x-conversation-id" for name in headers)
        stage.check_chat(stage.user, conversation=CONVERSATION if named else None)


def fill_in(value: str, user: str) -> str:
    """A header's value as LibreChat sends it. A placeholder that it does not know would be sent as it stands."""
    for name in _OF_USER:
        value = value.replace(f"{{{{LIBRECHAT_USER_{name.upper()}}}}}", user)
    for name in _OF_BODY:
        value = value.replace(f"{{{{LIBRECHAT_BODY_{name.upper()}}}}}", CONVERSATION)
    assert "{{" not in value, f"LibreChat does not know {value}"
    return _NAME.sub(VARIABLE, value)


def check_litellm(stage: Stage, _: Block, tree: Tree) -> None:
    """Each model that goes through the proxy: LiteLLM passes clients' ``x-`` headers on if it is told to."""
    forwards = (tree.get("general_settings") or {}).get("forward_client_headers_to_llm_api") is True
    bases = [model["litellm_params"].get("api_base", "") for model in tree["model_list"]]
    assert any(map(is_address_of_proxy, bases)), "no model goes through the proxy"
    for base in filter(is_address_of_proxy, bases):
        headers = {"x-user-id": stage.user, "x-conversation-id": CONVERSATION} if forwards else {}
        answer = ask(stage.adapt(base), headers, CHAT)
        assert answer.status_code == 200, answer.text
        stage.check_chat(stage.user, conversation=CONVERSATION)


# --- Commands ------------------------------------------------------------------------------------------------------


def parse(arguments: list[str]) -> None:
    """A command line of ours. Whatever is wrong with it is a failure."""
    # Typer has a click of its own, without public types.
    group: Any = typer.main.get_command(make_cli())
    name, *rest = arguments
    assert name in group.commands, f"memory-proxy has no command {name}"
    with group.commands[name].make_context(name, rest):
        return


def check_ours(stage: Stage, call: Call) -> None:
    """``memory-proxy``: as it would be read. One that serves does so; one that looks is shown something."""
    parse(call.arguments)
    check_settings({name: value for name, value in call.environ.items() if name.startswith(ENV_PREFIX)})
    if call.arguments[0] == "serve":
        check_serving(stage, call)
    elif call.arguments[0] in ("users", "memories", "search") and "--server" not in call.arguments:
        done = invoke(*call.arguments, "--server", stage.proxy.url)
        assert done.exit_code == 0, done.output


def check_serving(stage: Stage, call: Call) -> None:
    """Started with what it says, but for where it listens and keeps its data, and its upstream is ours."""
    rest, told = [], iter(call.arguments[1:])
    for argument in told:
        if argument in ("--upstream", "--host", "--port", "--data-dir"):
            value = next(told)
            assert argument != "--upstream" or config.load(flags={"upstream": {"base_url": value}})
        elif argument == "--config":
            next(told)
            rest += [argument, str(REPOSITORY / "config.example.yaml")]
        else:
            rest.append(argument)
    settings = {name: value for name, value in call.environ.items() if name.startswith(ENV_PREFIX)}
    if (done := f"{rest} {settings}") in stage.served:  # told apart from another one by its upstream alone
        return
    stage.served.add(done)
    with Proxy(stage.folder / f"served-{len(stage.served)}", stage.upstream.url, *rest, environ=settings) as proxy:
        chat = Chat(proxy.url, stage.user)
        assert chat.say("Hello!")
        assert chat.headers["x-memory-status"] != "anonymous"


def check_docker(stage: Stage, call: Call) -> None:
    """``docker``: nothing is built or run; what is said to a container has to fit its image."""
    verb, *rest = call.arguments
    if verb == "build":
        assert rest == ["-t", _IMAGE, "."], rest
        assert (REPOSITORY / "Dockerfile").is_file()
    elif verb == "run":
        _check_run(stage, rest)
    else:
        assert verb == "compose", f"nobody knows docker {verb}"
        assert rest[0] in ("up", "down", "logs", "config", "ps"), rest


def _check_run(stage: Stage, arguments: list[str]) -> None:
    service: Tree = {"ports": [], "volumes": [], "environment": {}}
    told = iter(arguments)
    for argument in told:
        if argument in ("-d", "--rm", "-it", "--detach", "--init"):
            continue
        if argument in ("--name", "--network", "--add-host", "--restart"):
            next(told)
        elif argument in ("-p", "--publish"):
            service["ports"].append({"target": next(told).split(":")[-1]})
        elif argument in ("-v", "--volume"):
            service["volumes"].append({"target": next(told).split(":")[1]})
        elif argument in ("-e", "--env"):
            name, _, value = next(told).partition("=")
            service["environment"][name] = value
        else:
            assert not argument.startswith("-"), f"nobody knows docker run {argument}"
            _check_image(stage, argument, service, list(told))


def _check_image(stage: Stage, image: str, service: Tree, command: list[str]) -> None:
    if _OPEN_WEBUI in image:
        check_open_webui(stage, service["environment"])
        return
    assert re.fullmatch(rf"(\S+/)?{_IMAGE}(:\S+)?", image), f"nobody knows the image {image}"
    check_container({**service, "command": command})


def check_pip(_: Stage, call: Call) -> None:
    """``pip install``: of this repository, its lock, its extras, or what its tests have installed themselves."""
    verb, *rest = call.arguments
    assert verb == "install"
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    known = {re.split(r"[\[<>=;~ ]", need)[0].lower() for need in (*project["dependencies"], *_list_extras(project))}
    for argument in rest:
        if argument == ".":
            assert (REPOSITORY / "pyproject.toml").is_file()
        elif own := re.fullmatch(rf"(?:\.|{_IMAGE})(?:\[([\w,]+)\])?", argument):
            assert set((own[1] or "").split(",")) - {""} <= project["optional-dependencies"].keys(), argument
        elif not argument.startswith("-") and argument != "requirements.lock":
            assert argument.lower() in known | _OTHERS.keys(), f"nobody has tried to install {argument}"


def _list_extras(project: Tree) -> Iterator[str]:
    for needs in project["optional-dependencies"].values():
        yield from needs


# What readers install in an environment of their own, and why it is not in ours.
_OTHERS: Final = {
    "llama-index-llms-openai-like": "wants openai below 3",
    "litellm[proxy]": "another server",
}


def check_npm(_: Stage, call: Call) -> None:
    """``npm install``: of what the tests' own packages have."""
    has = json.loads((REPOSITORY / "tests" / "sdk" / "node" / "package.json").read_text("utf-8"))["dependencies"]
    if call.arguments[0] == "ci":
        assert (REPOSITORY / call.arguments[call.arguments.index("--prefix") + 1] / "package-lock.json").is_file()
        return
    assert call.arguments[0] == "install"
    assert set(call.arguments[1:]) <= has.keys(), call


def check_python(_: Stage, call: Call) -> None:
    """``python3``: makes an environment."""
    assert call.arguments == ["-m", "venv", ".venv"], call


def check_pytest(_: Stage, call: Call) -> None:
    """The tests' own command: to the letter what CI runs. (They are running.)"""
    assert f"pytest {' '.join(call.arguments)}" in (REPOSITORY / ".ci" / "run").read_text("utf-8")


def check_other(_: Stage, call: Call) -> None:
    """Another program's command: it is not here to be run; that it is begun as it is usually begun is all we know."""
    assert call.arguments[0] in _BEGINNINGS[call.name], call


_BEGINNINGS: Final = {"ollama": ("pull", "serve", "run"), "vllm": ("serve",), "litellm": ("--config",)}
_CALLS: Final[Mapping[str, Callable[[Stage, Call], None]]] = {
    "memory-proxy": check_ours,
    "docker": check_docker,
    "pip": check_pip,
    "npm": check_npm,
    "python3": check_python,
    "pytest": check_pytest,
    **dict.fromkeys(_BEGINNINGS, check_other),
}
_FILES: Final[Mapping[str, Callable[[Stage, Block, Tree], None]]] = {
    "services": check_compose,
    "endpoints": check_librechat,
    "model_list": check_litellm,
}
# Readers' shells know these and no others.
COMMANDS: Final = tuple(_CALLS)
