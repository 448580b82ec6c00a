"""What ``check`` looks at: each probe tries one thing as the server would, and tells what it found."""

import asyncio
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Final, Literal

import httpx2
import msgspec
from pydantic import SecretStr

from proxy import versions
from proxy.cli import output
from proxy.cli.opening import open_backend
from proxy.config import POINTS_AT_ITSELF, Settings
from proxy.config.access import Jwt
from proxy.errors import EmbedderError, JournalError, LockedError, MemoryProxyError, StoreError, UpstreamError
from proxy.models import Embedding

# For one answer. The configured read timeout is made for answers that take a model minutes.
PATIENCE_S: Final = 10.0
HIDDEN: Final = "**********"
ADVICE_FOR_EMBEDDING: Final = "memory-proxy reembed moves them; until then the former model is asked, too"
ADVICE_FOR_FAILED: Final = "memory-proxy journal shows why, and journal retry tries again"

State = Literal["ok", "note", "failed"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a probe found. *advice* is what to do about it; a ``note`` is worth knowing, and no failure."""

    what: str
    state: State
    found: str
    advice: str = ""


class _Waiting(msgspec.Struct):
    failed: int
    reason: str = "no reason given"


class _Readiness(msgspec.Struct):
    """The body of ``GET /readyz``. Without a journal where nobody can look into it."""

    checks: dict[str, str]
    journal: _Waiting | None = None
    embedding: str | None = None


async def examine(settings: Settings, server: str | None) -> list[Finding]:
    """Everything outside the configuration itself; *server* None looks at the data directory. What fails is told."""
    findings = [await check_upstream(settings), await check_embedder(settings)]
    if server is not None:
        findings += await check_server(settings, server)
    else:
        findings += await check_data_dir(settings)
    if settings.journal.redis_url is not None:
        findings.append(await asyncio.to_thread(check_shared_journal, settings))
    findings += [await asyncio.to_thread(check_tokens), *await check_identity(settings)]
    return [*findings, check_clients(settings), check_admin(settings)]


async def check_upstream(settings: Settings) -> Finding:
    """Asks for the list of models, the way that chats take."""
    from proxy.upstream import Request, Upstream

    address = settings.upstream.address
    if settings.points_at_itself:
        return Finding("upstream", "failed", f"{address}: {POINTS_AT_ITSELF}", "check upstream.base_url")
    key = settings.upstream.authorization
    headers = [] if key is None else [(b"authorization", key)]
    upstream = Upstream(settings.upstream)
    try:
        async with asyncio.timeout(PATIENCE_S):
            response = await upstream.send(Request("GET", f"{address.prefix}/models".encode("ascii"), headers))
    except (UpstreamError, TimeoutError) as exc:
        why = str(exc) or f"no answer within {PATIENCE_S:g} s"
        advice = "check upstream.base_url, and this machine's network and HTTPS_PROXY"
        return Finding("upstream", "failed", f"{address}/models: {why}", advice)
    finally:
        await upstream.aclose()
    return _judge_status(f"{address}/models", response.status, has_key=key is not None)


def _judge_status(url: str, status: int, *, has_key: bool) -> Finding:
    found = f"{url} is reachable and answers {status}"
    if status in (401, 403) and has_key:
        return Finding("upstream", "failed", f"{found}: the key is refused", "check upstream.api_key")
    if status in (401, 403):
        return Finding("upstream", "ok", f"{found}, as it should without a key: clients send their own")
    if status >= 500:
        return Finding("upstream", "note", found, "it is in trouble itself, or upstream.base_url is not the API's")
    if status >= 400:
        return Finding("upstream", "note", found, "upstream.base_url usually ends in /v1")
    return Finding("upstream", "ok", found)


async def check_embedder(settings: Settings) -> Finding:
    """Embeds one text."""
    from proxy.embedders import open_embedder

    provider = settings.embedding.provider
    if provider == "none":
        return Finding("embedder", "ok", "none: recall goes by words alone")
    began = time.perf_counter()
    try:
        embedder = open_embedder(settings)
        try:
            vectors = await embedder.embed(["What does this user like?"])
        finally:
            await embedder.aclose()
    except EmbedderError as exc:
        local = "reinstall memory-proxy, or set embedding.provider: none"
        remote = "check embedding.model, embedding.base_url and embedding.api_key"
        why = _hide(settings.embedding.api_key, str(exc))
        return Finding("embedder", "failed", why, local if provider == "local" else remote)
    elapsed_ms = (time.perf_counter() - began) * 1000
    return Finding("embedder", "ok", f"{embedder.name}, {vectors.shape[1]} dimensions, opened in {elapsed_ms:.0f} ms")


def _hide(secret: SecretStr | None, text: str) -> str:
    """*text* without the key, which an API's own error message may repeat."""
    key = secret.get_secret_value() if secret is not None else ""
    return text.replace(key, HIDDEN) if key else text


async def check_data_dir(settings: Settings) -> list[Finding]:
    """Opens store and journal, or asks the server that has them open."""
    from proxy.keeper.lock import DataDirLock, Holder, read_holder

    data_dir = settings.data_dir
    try:
        with DataDirLock(data_dir, Holder(os.getpid(), "memory-proxy check")):
            if (finding := check_version(settings)) is not None:
                return [finding]
            found = await asyncio.to_thread(check_store, settings)
            if settings.journal.redis_url is None:
                found.append(await asyncio.to_thread(check_journal, data_dir))
            return found
    except LockedError as exc:
        holder = read_holder(data_dir)
        if holder is not None and holder.url is not None:
            return await check_server(settings, holder.url)
        return [Finding("store", "failed", str(exc), "try again when that has ended")]
    except OSError as exc:
        why = f"{data_dir}: {exc.strerror or exc}"
        return [Finding("data directory", "failed", why, "make it writable for this user, or set data_dir")]


def check_version(settings: Settings) -> Finding | None:
    """Whether what is stored is of another version than this program's, so that it has to be left alone."""
    from proxy.keeper.migration import measure_copy

    data_dir, name = settings.data_dir, "data directory"
    try:
        version = versions.read_version(data_dir)
    except StoreError as exc:
        return Finding(name, "failed", str(exc))
    if version is None:
        versions.write_version(data_dir)
    if version in (None, versions.SCHEMA):
        return None
    need, free = (size >> 20 for size in measure_copy(settings))
    found = f"version {version}; the next start makes it version {versions.SCHEMA}, after it has copied it"
    if need > free:
        advice = f"make room in {data_dir}, or make backups in it a link to a larger disk"
        return Finding(name, "failed", f"{found}, for which {need:,} MB have to be free, and {free:,} are", advice)
    return Finding(name, "note", f"{found} ({need:,} MB); store and journal were not opened")


def check_store(settings: Settings) -> list[Finding]:
    """Opens the store and reads from it; and by which vectors its memories are found, where that may surprise."""
    from proxy.ledger import open_ledger
    from proxy.stores.base import open_store

    mode = settings.store.mode
    try:
        with closing(open_ledger(settings)) as ledger, closing(open_store(settings, ledger)) as store:
            store.prepare()
            users = len(store.users())
            embedding = _compare_embeddings(settings, ledger.read_embedding())
    except StoreError as exc:
        return [Finding("store", "failed", str(exc), _advise_on_store(settings))]
    where = "" if mode == "embedded" else f" at {_name_store(settings)}"
    found = f"{mode}{where}, {output.count(users, 'user')}"
    if mode == "embedded" and settings.journal.redis_url is not None:
        advice = "with replicas set store.mode http or cloud: each would store what the others never see"
        found = f"{found}; the journal is shared, and this store is not"
        return [Finding("store", "note", found, advice), *embedding]
    return [Finding("store", "ok", found), *embedding]


def _compare_embeddings(settings: Settings, noted: Embedding | None) -> list[Finding]:
    from proxy.embedders import name_configured

    configured = name_configured(settings)
    if noted is None or noted.serving.name == configured:
        return []
    begun = "" if noted.target is None else f"; a move to {noted.target} is begun"
    found = f"memories go by {noted.serving}, and {configured} is configured{begun}"
    return [Finding("embedding", "note", found, ADVICE_FOR_EMBEDDING)]


def _name_store(settings: Settings) -> str:
    return f"{settings.store.host}:{settings.store.port}" if settings.store.mode == "http" else "Chroma Cloud"


def _advise_on_store(settings: Settings) -> str:
    local = f"see that {settings.data_dir} is whole, writable and not full"
    redis = "see that the Redis of journal.url is running, and holds what it held"
    ledger = local if settings.journal.redis_url is None else redis
    if settings.store.mode == "embedded":
        return ledger
    return f"see that {_name_store(settings)} is running, and check store.*; {ledger}"


def check_journal(data_dir: Path) -> Finding:
    """Takes the right to write, and writes nothing."""
    from proxy.journal import JournalReader

    journal = JournalReader(data_dir)
    try:
        journal.done([])
        counts = journal.counts()
    except JournalError as exc:
        return Finding("journal", "failed", str(exc), f"see that {data_dir} is writable and not full")
    finally:
        journal.close()
    found = f"writable, {counts.pending + counts.extracting:,} waiting, {counts.failed:,} failed"
    if counts.failed:
        return Finding("journal", "note", found, ADVICE_FOR_FAILED)
    return Finding("journal", "ok", found)


def check_shared_journal(settings: Settings) -> Finding:
    """Reaches the Redis that replicas share, and asks what it keeps."""
    from proxy.cli.redis_probe import judge_journal

    return Finding("journal", *judge_journal(settings))


async def check_server(settings: Settings, url: str) -> list[Finding]:
    """What a running server says of itself, and whether its admin API lets us in."""
    try:
        async with httpx2.AsyncClient(timeout=PATIENCE_S, trust_env=False) as client:
            answer = await client.get(f"{url}/readyz")
        readiness = msgspec.json.decode(answer.content, type=_Readiness)
    except (httpx2.HTTPError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        why = f"{url}/readyz: {str(exc) or type(exc).__name__}"
        return [Finding("server", "failed", why, "is memory-proxy running there, and well? see its log")]
    found = [_repeat(what, state, url) for what, state in readiness.checks.items()]
    if readiness.journal is not None and readiness.journal.failed:
        told = f"{readiness.journal.failed:,} failed; the oldest: {readiness.journal.reason}"
        found.append(Finding("journal", "note", told, f"{ADVICE_FOR_FAILED} with --server {url}"))
    if readiness.embedding is not None:
        found.append(Finding("embedding", "note", f"the server at {url} says: {readiness.embedding}"))
    return [*found, await _check_admin_api(settings, url)]


def _repeat(what: str, state: str, url: str) -> Finding:
    if state == "ok":
        return Finding(what, "ok", f"so says the server at {url}")
    return Finding(what, "failed", f"the server at {url} says: {state}", "see its log")


async def _check_admin_api(settings: Settings, url: str) -> Finding:
    try:
        async with open_backend(settings, url) as backend:
            await backend.users(1)
    except MemoryProxyError as exc:
        return Finding("admin API", "failed", str(exc))
    return Finding("admin API", "ok", f"found at {url}")


def check_tokens() -> Finding:
    """Are there tables to count by?"""
    from proxy.tokens import TokenCounter

    if TokenCounter().load_tables():
        return Finding("tokens", "ok", "counted exactly, by tiktoken's tables")
    advice = "for exact counts put tiktoken's o200k_base into TIKTOKEN_CACHE_DIR"
    return Finding("tokens", "note", "estimated, to about 5 %: tiktoken's tables are not on this machine", advice)


async def check_identity(settings: Settings) -> list[Finding]:
    """What has to be true for users to be who they say they are."""
    identity = settings.identity
    if identity.mode == "jwt":
        return await _check_tokens(identity.jwt)
    if identity.mode == "signed":
        secrets = output.count(len(identity.secrets), "secret")
        found = f"{identity.header} is believed with a signature by one of {secrets}, for {identity.max_age_s:g} s"
        return [Finding("identity", "ok", found)]
    who = "whoever has a client's key" if settings.clients else "whoever reaches the proxy"
    advice = "identity.mode header is for trusted networks: let only your own backend in"
    return [Finding("identity", "note", f"{identity.header} is believed: {who} can name any user", advice)]


async def _check_tokens(jwt: Jwt) -> list[Finding]:
    from proxy.identity.jwks import fetch
    from proxy.identity.keys import read_jwks, read_key

    place, advice = "identity.jwt.key", "see what identity.jwt.key should be in config.example.yaml"
    try:
        if jwt.jwks_url is not None:
            place, advice = jwt.jwks_url, "check identity.jwt.jwks_url, and this machine's network and HTTPS_PROXY"
            async with asyncio.timeout(PATIENCE_S):
                keys = read_jwks(await fetch(jwt.jwks_url), jwt.algorithms)
        elif jwt.jwks_file is not None:
            place, advice = str(jwt.jwks_file), "check identity.jwt.jwks_file; until it is there nobody is known"
            keys = read_jwks(jwt.jwks_file.read_bytes(), jwt.algorithms)
        else:
            keys = read_key("" if jwt.key is None else jwt.key.get_secret_value(), jwt.algorithms)
    except (OSError, ValueError, httpx2.HTTPError) as exc:
        why = (exc.strerror if isinstance(exc, OSError) else "") or str(exc) or type(exc).__name__
        return [Finding("identity", "failed", f"{place}: {why}", advice)]
    found = f"{jwt.header} is believed with a key for {', '.join(keys.algorithms)} from {place}"
    return [Finding("identity", "ok", found), *_note_open_tokens(jwt)]


def _note_open_tokens(jwt: Jwt) -> list[Finding]:
    """What makes more tokens good than somebody may have meant."""
    missing = [name for name in ("issuer", "audience") if getattr(jwt, name) is None]
    notes = []
    if missing:
        found = f"without identity.jwt.{' and '.join(missing)}, tokens that were made for something else are believed"
        notes.append(Finding("tokens of users", "note", found, "set what your tokens have in iss and aud"))
    if jwt.jwks_url is not None and jwt.jwks_url.startswith("http:"):
        found = f"{jwt.jwks_url} is asked without TLS: whoever is in between can name any user"
        notes.append(Finding("keys of tokens", "note", found, "use https, or a network that you trust"))
    return notes


def check_clients(settings: Settings) -> Finding:
    """Which applications may ask, and whose upstream key they use."""
    if not settings.clients:
        return Finding(
            "clients", "note", "none: anybody who reaches the proxy may ask", "see clients, and who gets there"
        )
    tenants = sorted({client.effective_tenant for client in settings.clients})
    found = f"{output.count(len(settings.clients), 'key')}, of the tenants {', '.join(tenants)}"
    bare = [client.name for client in settings.clients if client.upstream_api_key is None]
    if bare and settings.upstream.authorization is None:
        why = f"{found}; without upstream.api_key the upstream gets no key from {', '.join(bare)}"
        return Finding("clients", "note", why, "set upstream.api_key, or each client's upstream_api_key")
    return Finding("clients", "ok", found)


def check_admin(settings: Settings) -> Finding:
    """Who may look into memory."""
    if settings.admin.token is None:
        found = "without admin.token, /memory and /metrics answer clients on this machine only"
        return Finding("admin", "note", found, "set admin.token to reach them from elsewhere")
    return Finding("admin", "ok", "/memory and /metrics want the token")
