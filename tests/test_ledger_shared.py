"""The ledger in Redis: away, emptied, restored, used by many at once, and without what was destroyed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import redis

from proxy import config, versions
from proxy.errors import StoreError
from proxy.ledger import Ledger, open_ledger
from proxy.ledger.shared import SharedLedger
from proxy.sharing import rewriting
from proxy.sharing.rewriting import Rewriting
from tests.redis_server import RedisServer, running_redis
from tests.test_ledger import ADA, AT, BOB, digest, make

Open = Callable[[], Ledger]


def open_at(folder: Path, url: str, prefix: str = "memory-proxy") -> Ledger:
    return open_ledger(config.load(flags={"data_dir": folder, "journal": {"url": url, "prefix": prefix}}))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that the test may kill."""
    with running_redis() as running:
        yield running


def test_redis_may_come_go_and_come_back(tmp_path: Path, server: RedisServer) -> None:
    """To open a ledger asks for nothing; each call stands for itself; what was done is there after a kill."""
    server.kill()
    with closing(open_at(tmp_path, server.url)) as ledger:
        for call in (ledger.identify, ledger.list_unsettled, lambda: ledger.make_keys({ADA: ["row"]})):
            with pytest.raises(StoreError, match=r"^redis: ConnectionError$"):
                call()
        server.start()
        made = make(ledger, ADA, "row")
        ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[digest(1)])
        server.kill()
        with pytest.raises(StoreError, match=r"^redis: \w+$"):
            ledger.read_keys(ADA)
        server.start()
        assert ledger.read_keys(ADA) == {"row": (made["row"],)}
        assert ledger.tombstone(ADA).digests == {digest(1)}


def test_an_emptied_redis_is_told_of(tmp_path: Path, server: RedisServer) -> None:
    """That nobody has anything any more is not believed; what was there is good again once it is back."""
    with closing(open_at(tmp_path, server.url)) as ledger, closing(server.client()) as client:
        made = make(ledger, ADA, "row")
        kept = {name: client.dump(name) for name in client.scan_iter()}
        client.flushall()
        for call in (
            lambda: ledger.read_keys(ADA),
            lambda: ledger.list_rows(ADA),
            lambda: ledger.make_keys({ADA: ["other"]}),
            lambda: ledger.destroy_keys(ADA),
            lambda: ledger.is_off(ADA),
            lambda: ledger.page_row_keys("row", after="", limit=9),
        ):
            with pytest.raises(StoreError, match="restore Redis from its backup"):
                call()
        assert client.dbsize() == 0
        with closing(open_at(tmp_path, server.url)) as another:
            assert another.identify() != ledger.identify()
            with pytest.raises(StoreError, match="restore Redis"):
                ledger.list_rows(ADA)
        client.flushall()
        for name, value in kept.items():
            client.restore(name, 0, value)  # type: ignore[arg-type]  # it was there
        assert ledger.read_keys(ADA) == {"row": (made["row"],)}


def test_a_redis_may_have_several_ledgers(tmp_path: Path, redis_url: str) -> None:
    """By their prefix."""
    with closing(open_at(tmp_path, redis_url)) as one, closing(open_at(tmp_path, redis_url, "other")) as other:
        make(one, ADA, "row")
        assert one.identify() != other.identify()
        assert other.list_rows(ADA) == []


def test_embedded_stores_of_several_replicas_are_refused(tmp_path: Path, redis_url: str) -> None:
    """Each would have a part of what is sealed here. A store that replicas share is let in, and stays."""
    with closing(open_at(tmp_path / "a", redis_url)) as first, closing(open_at(tmp_path / "b", redis_url)) as second:
        identity = first.identify()
        with pytest.raises(StoreError, match=r"set store\.mode to http or cloud"):
            second.list_rows("ada")
    with closing(open_at(tmp_path / "a", redis_url)) as again:
        assert again.identify() == identity
    flags = {"data_dir": tmp_path / "c", "journal": {"url": redis_url}, "store": {"mode": "http"}}
    with closing(SharedLedger(config.load(flags=flags, environ={}))) as sharing:
        assert sharing.identify() == identity
    with closing(open_at(tmp_path / "a", redis_url)) as first, pytest.raises(StoreError):
        first.identify()


def test_nothing_is_remembered_here(tmp_path: Path, redis_url: str) -> None:
    """What another process does counts at once."""
    with closing(open_at(tmp_path, redis_url)) as one, closing(open_at(tmp_path, redis_url)) as other:
        assert one.identify() == other.identify()
        assert (one.is_off(ADA), one.tombstone(ADA).ids) == (False, {})
        other.switch(ADA, off=True)
        other.bury(ADA, at=AT, memory_ids=["m"], digests=[])
        assert (one.is_off(ADA), one.tombstone(ADA).ids) == (True, {"m": AT})


def test_places_are_given_once(tmp_path: Path, redis_url: str) -> None:
    """Several processes settle at the same time: what each has put keeps its order, and nothing is lost."""
    ledgers = [open_at(tmp_path, redis_url) for _ in range(4)]

    def work(number: int) -> None:
        for turn in range(20):
            make(ledgers[number], ADA, *(f"{number}.{turn:02d}.{row}" for row in range(3)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = ledgers[0].list_rows(ADA)
    for number in range(4):
        mine = [row for row in rows if row.startswith(f"{number}.")]
        assert mine == sorted(mine)
        assert len(mine) == 60
    assert ledgers[0].list_unsettled() == {}
    for ledger in ledgers:
        ledger.close()


def test_who_is_touched_is_told_in_the_same_step(tmp_path: Path, redis_url: str, shared_redis: RedisServer) -> None:
    """What counts, what does not any more, and switches; not what changes nothing for anybody who reads."""
    with closing(open_at(tmp_path, redis_url)) as ledger, closing(shared_redis.client()) as client:
        heard = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        heard.subscribe("memory-proxy:changes")
        heard.get_message(timeout=5)

        def said(wait_s: float = 10.0) -> object:
            message = heard.get_message(timeout=wait_s)
            return None if message is None else msgspec.msgpack.decode(message["data"])

        made = ledger.make_keys({ADA: ["one"], BOB: ["two"]})
        assert said(0.0) is None
        ledger.settle_keys(made)
        assert said() == ["touched", [ADA, BOB]]
        ledger.settle_keys(made)
        ledger.destroy_keys(ADA, ["nothing"])
        ledger.switch(ADA, off=False)
        ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[])
        assert said(0.0) is None
        ledger.destroy_keys(ADA, ["one"])
        assert said() == ["touched", [ADA]]
        ledger.switch(BOB, off=True)
        assert said() == ["touched", [BOB]]
        heard.close()


def test_redis_knows_no_text_and_no_user(tmp_path: Path, redis_url: str, shared_redis: RedisServer) -> None:
    """Names of keys are made of the prefix, of words of ours and of users' hashes."""
    with closing(open_at(tmp_path, redis_url)) as ledger, closing(shared_redis.client()) as client:
        make(ledger, ADA, "row")
        ledger.bury(ADA, at=AT, memory_ids=["m"], digests=[digest(1)])
        ledger.switch(ADA, off=True)
        names = {name.decode().replace(ADA, "USER") for name in client.scan_iter()}
    kinds = {"identity", "home", "users", "places", "off"} | {
        f"{kind}:USER" for kind in ("keys", "places", "erased", "texts")
    }
    assert names == {f"memory-proxy:ledger:{kind}" for kind in kinds}


def test_destroyed_keys_leave_the_append_only_file(tmp_path: Path, server: RedisServer) -> None:
    """Redis is asked to write it anew; until then, whoever has the file has the key."""
    files = server.directory / "appendonlydir"

    def is_there(key: bytes) -> bool:
        return any(key in path.read_bytes() for path in files.iterdir())

    ledger = open_at(tmp_path, server.url)
    with closing(server.client()) as client:
        living, dead = make(ledger, ADA, "living", "dead").values()
        ledger.destroy_keys(ADA, ["dead"])
        assert is_there(dead)
        ledger.close()  # does what is left to do
        while client.info("persistence")["aof_rewrite_in_progress"]:
            pass
        # Small hashes are in one string, which may be compressed: what is to be found is the key that lives.
        assert is_there(living)
        assert not is_there(dead)


class Scripted:
    """A client that refuses to rewrite so many times."""

    def __init__(self, refusals: int, *, enabled: int = 1) -> None:
        self.asked = 0
        self.done = threading.Event()
        self._refusals = refusals
        self._enabled = enabled

    def info(self, _: str) -> dict[str, int]:
        if not self._enabled:
            self.done.set()
        return {"aof_enabled": self._enabled}

    def bgrewriteaof(self) -> None:
        self.asked += 1
        if self.asked <= self._refusals:
            raise redis.ResponseError("ERR Background append only file rewriting already in progress")
        self.done.set()


def test_rewriting_is_asked_for_until_it_begins() -> None:
    """Who is refused, because one runs already, asks again; many erasures at once are one."""
    client = Scripted(refusals=2)
    asking = Rewriting(client, first_s=0.01, every_s=0.01)  # type: ignore[arg-type]  # what it uses of a client
    for _ in range(10):
        asking.ask()
    assert client.done.wait(30)
    asking.close()
    assert client.asked == 3


def test_without_such_a_file_nothing_is_rewritten() -> None:
    """A Redis that only keeps snapshots would otherwise begin to write one."""
    client = Scripted(refusals=0, enabled=0)
    asking = Rewriting(client, first_s=0.01, every_s=0.01)  # type: ignore[arg-type]  # what it uses of a client
    asking.ask()
    assert client.done.wait(30)
    asking.close()
    assert client.asked == 0
    assert rewriting.EVERY_S >= 60


def test_it_is_what_a_redis_url_means(tmp_path: Path, redis_url: str) -> None:
    """The ledger lives with the journal."""
    with closing(open_at(tmp_path, redis_url)) as ledger:
        assert isinstance(ledger, SharedLedger)
    assert not list(tmp_path.glob("ledger*"))


def test_what_a_later_version_has_brought_up_to_date_is_left_alone(tmp_path: Path, redis_url: str) -> None:
    """By every call, also of a process that has worked with it before; a version never goes back."""
    with closing(open_at(tmp_path, redis_url)) as ledger, closing(redis.Redis.from_url(redis_url)) as client:
        assert ledger.read_version() == 0
        ledger.write_version(versions.SCHEMA)
        ledger.write_version(0)
        assert ledger.read_version() == versions.SCHEMA
        make(ledger, ADA, "row")
        client.set("memory-proxy:ledger:version", versions.SCHEMA + 1)
        calls: list[Callable[[], object]] = [lambda: ledger.read_keys(ADA), lambda: make(ledger, ADA, "row")]
        for call in [*calls, ledger.read_embedding, ledger.read_version]:
            with pytest.raises(StoreError, match=rf"redis: a later memory-proxy .*version {versions.SCHEMA + 1}\b"):
                call()
        client.set("memory-proxy:ledger:version", versions.SCHEMA)
        assert ledger.read_keys(ADA)
