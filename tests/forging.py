"""Requests that are not what they seem: forged, smuggled, doubled, disguised; made by chance, the same for a seed.

Each says whose memories it may bring along, if anybody's: those of the user who has proven to be one, and no others.
"""

import hashlib
import hmac
import json
import random
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal
from urllib.parse import quote

from tests.tokens import AUDIENCE, ISSUER, claims, forge_tokens, pem, rsa_key, sign_with_text, token

Mode = Literal["header", "signed", "jwt"]
Lines = list[tuple[bytes, bytes]]

SECRET, LOST_SECRET = "the-secret-of-the-backend", "a-secret-that-was-dropped"
CHAT: Final = b"/v1/chat/completions"
AZURE: Final = b"/v1/openai/deployments/gpt-4o/chat/completions"
NAMES: Final = ("ada", "Zoë", "grace hopper", "user:42", "李雷", "ada@example.com", "auth0|1f", "n%C3%A9")
MALLORY: Final = "mallory"


@dataclass(frozen=True, slots=True)
class Person:
    """A user of a tenant, with what only that tenant's own may bring up. *key*: of an application of the tenant."""

    user_id: str
    tenant: str
    key: str

    @property
    def marker(self) -> str:
        digest = hashlib.sha256(f"{self.tenant}/{self.user_id}".encode()).hexdigest()[:12]
        return f"vault{digest}"


@dataclass(frozen=True, slots=True)
class Forgery:
    """One request as it goes over the wire, and what is expected of it.

    *owner*: who has proven to be the one asking, so that their memories may go upstream; None for nobody. *statuses*:
    what may be answered; empty for anything below 500. *closes*: the connection may not be used any more. *wants*: the
    memories of *owner* must go upstream.
    """

    kind: str
    raw: bytes
    owner: Person | None = None
    statuses: Sequence[int] = ()
    closes: bool = False
    wants: bool = False


TENANTS: Final = {"shop": "mp-shop-key", "help": "mp-help-key"}
PEOPLE: Final = [Person(name, tenant, key) for tenant, key in TENANTS.items() for name in (*NAMES, MALLORY)]


def configuration(mode: Mode) -> dict[str, Any]:
    """Of the proxy that is to be deceived."""
    clients = [
        {"name": name, "key_sha256": hashlib.sha256(key.encode()).hexdigest(), "upstream_api_key": "sk-upstream"}
        for name, key in TENANTS.items()
    ]
    identity: dict[str, Any] = {"mode": mode}
    if mode == "signed":
        identity["secrets"] = ["another-secret-that-lives", SECRET]
    if mode == "jwt":
        identity["jwt"] = {
            "algorithms": ["RS256"],
            "key": pem(rsa_key()),
            "issuer": ISSUER,
            "audience": AUDIENCE,
        }
    return {"clients": clients, "identity": identity, "admin": {"token": "the-admin-token"}}


def key_line(key: str) -> tuple[bytes, bytes]:
    return b"Authorization", b"Bearer " + key.encode()


def sign(user_id: str, *, at: float | None = None, secret: str = SECRET) -> bytes:
    moment = str(int(time.time() if at is None else at)).encode()
    digest = hmac.new(secret.encode(), moment + b"." + user_id.encode(), hashlib.sha256).hexdigest()
    return b"t=" + moment + b",v1=" + digest.encode()


@cache
def _token(user_id: str) -> bytes:
    return token(user_id)


def prove(mode: Mode, user_id: str) -> Lines:
    """What the backend sends for a user who has logged in."""
    if mode == "jwt":
        return [(b"X-User-Token", _token(user_id))]
    named = [(b"X-User-Id", user_id.encode())]
    return named if mode == "header" else [*named, (b"X-User-Signature", sign(user_id))]


def render(lines: Lines, body: bytes, *, target: bytes = CHAT, method: bytes = b"POST") -> bytes:
    head = [b"%b %b HTTP/1.1" % (method, target), b"Host: proxy", *(b"%b: %b" % line for line in lines)]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])


@dataclass
class Forger:
    """Makes requests for one mode of identity. *stores*: the share of those that would also like to be remembered."""

    mode: Mode
    dice: random.Random
    stores: float = 0.1
    number: int = 0
    _kinds: list[Callable[[Person], Forgery]] = field(init=False)

    def __post_init__(self) -> None:
        common = [self.genuine, *[self.keyless] * 3, *[self.foreign] * 3, *[self.disguised] * 4, *[self.doubled] * 4]
        common += [*[self.smuggled] * 5, *[self.split] * 3, *[self.detour] * 4, *[self.control] * 4, self.huge]
        common += [self.in_the_body, self.of_another_mode, self.stolen_conversation, self.odd_mode]
        own = {"header": [], "signed": [self.badly_signed] * 15, "jwt": [self.bad_token] * 15}
        self._kinds = [*common, *own[self.mode]]

    def next(self) -> Forgery:
        """Another one."""
        self.number += 1
        victim = self.dice.choice([person for person in PEOPLE if person.user_id != MALLORY])
        return self.dice.choice(self._kinds)(victim)

    # What they are made of.

    @property
    def tag(self) -> str:
        return f"#q{self.mode}{self.number}#"

    def ask(
        self,
        lines: Lines,
        *,
        target: bytes = CHAT,
        method: bytes = b"POST",
        lie: bool = True,
        fields: Mapping[str, object] | None = None,
    ) -> bytes:
        """A question that any victim's memories answer; or, with *lie* and by chance, what should not be remembered."""
        lies = lie and self.dice.random() < self.stores
        text = f"My vault word is poison{self.number}. {self.tag}" if lies else f"What is my vault word? {self.tag}"
        lines = [*lines, (b"Content-Type", b"application/json")]
        if not lies:
            lines.append((b"X-Memory-Mode", b"read"))
        self.dice.shuffle(lines)
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **(fields or {})}
        return render(lines, json.dumps(body).encode(), target=target, method=method)

    def mallory(self, person: Person) -> Person:
        """The attacker, a user of the same application."""
        return Person(MALLORY, person.tenant, person.key)

    # Kinds of requests.

    def genuine(self, victim: Person) -> Forgery:
        """One that is no forgery: without these the others would prove nothing."""
        target = self.dice.choice([CHAT, CHAT, AZURE, b"http://elsewhere.test" + CHAT])
        raw = self.ask([key_line(victim.key), *prove(self.mode, victim.user_id)], target=target, lie=False)
        return Forgery("genuine", raw, victim, (200,), wants=True)

    def keyless(self, victim: Person) -> Forgery:
        """A user's proof without a key of the application, or with a wrong one."""
        key = victim.key.encode()
        sent: Lines = self.dice.choice(
            [
                [],
                [(b"Authorization", b"Bearer sk-%d" % self.dice.getrandbits(64))],
                [(b"Authorization", b"Bearer " + hashlib.sha256(key).hexdigest().encode())],
                [(b"Authorization", b"Bearer " + key[:-1])],
                [(b"Authorization", b"Bearer " + key + b"\x00")],
                [(b"Authorization", b"Basic " + key)],
                [(b"Authorization", key)],
                [(b"api-key", key.upper())],
                [(b"api_key", key)],
                [(b"X-Api-Key", key)],
                [key_line(victim.key), key_line(victim.key)],
                [key_line(victim.key), (b"api-key", b"sk-other")],
            ]
        )
        raw = self.ask([*sent, *prove(self.mode, victim.user_id)])
        return Forgery("keyless", raw, None, (400, 401), closes=b"\x00" in raw)

    def foreign(self, victim: Person) -> Forgery:
        """Another tenant's application, with a user of the same id and its own memory."""
        other = next(person for person in PEOPLE if person.user_id == victim.user_id and person.tenant != victim.tenant)
        extra = self.dice.choice(
            [(b"X-Tenant", victim.tenant.encode()), (b"X-Memory-Tenant", victim.tenant.encode()), (b"X-A", b"b")]
        )
        target = self.dice.choice([CHAT, CHAT + b"?tenant=" + victim.tenant.encode()])
        raw = self.ask([key_line(other.key), *prove(self.mode, victim.user_id), extra], target=target, lie=False)
        return Forgery("foreign tenant", raw, other, (200,))

    def disguised(self, victim: Person) -> Forgery:
        """Another user, whose id looks or decodes like the victim's. The backend vouches for it: it is somebody's."""
        user_id = victim.user_id
        variants = [
            user_id.upper(),
            user_id.capitalize(),
            user_id.replace("a", "а"),
            user_id.replace("e", "е"),
            f"{user_id}\u200b",
            f"\u202e{user_id}",
            f"\ufeff{user_id}",
            f"{user_id}\u0301",
            unicodedata.normalize("NFD", user_id),
            unicodedata.normalize("NFKC", user_id.translate({97: 0xFF41})) + "\u00ad",
            quote(user_id) + "%20",
            f"{user_id}%00",
            f"{user_id}/",
            f"{user_id}/../{user_id}",
            f"shop/{user_id}",
            f"{victim.tenant}\\x00{user_id}",
            f'"{user_id}"',
            f"{user_id};",
            f"{user_id},",
            f"{user_id}, {user_id}",
            f"' OR user_id = '{user_id}",
            "*",
            "%",
            f"{user_id}\u2028",
        ]
        chosen = self.dice.choice([variant for variant in variants if variant != user_id])
        raw = self.ask([key_line(victim.key), *prove(self.mode, chosen)])
        return Forgery("disguised", raw, None, (200,))

    def doubled(self, victim: Person) -> Forgery:
        """Headers of identity twice: equal, contradicting, in another spelling."""
        proof = prove(self.mode, victim.user_id)
        again = self.dice.choice([proof, prove(self.mode, MALLORY)])
        name, value = self.dice.choice(again)
        spelled = self.dice.choice([name, name.lower(), name.upper(), name.swapcase()])
        raw = self.ask([key_line(victim.key), *proof, (spelled, value)])
        return Forgery("doubled", raw, None, (400,))

    def smuggled(self, victim: Person) -> Forgery:
        """Mallory's own proof, and the victim's id by a way that somebody might take for the header."""
        user_id, mallory = victim.user_id.encode(), self.mallory(victim)
        name = {"header": b"X-User-Id", "signed": b"X-User-Id", "jwt": b"X-User-Token"}[self.mode]
        value = _token(victim.user_id) if self.mode == "jwt" else user_id
        fragment = name + b": " + value
        line = self.dice.choice(
            [
                b"X_User_Id: " + user_id,
                b"X-User-Id-: " + user_id,
                b"X-User-Idd: " + user_id,
                b"HTTP_X_USER_ID: " + user_id,
                name.replace(b"-", b"_") + b": " + value,
                b"Connection: " + name,
                b"Connection: X-User-Id, X-User-Signature, X-User-Token, Authorization",
                b"Connection: content-length",
                b"Cookie: X-User-Id=" + user_id,
                b"Forwarded: for=" + quote(user_id).encode(),
                b"X-A: b%0d%0a" + quote(fragment).encode(),
                b"X-A: b\\r\\n" + fragment,
                b"X-A: b\n" + fragment,
                b"X-A: b\r" + fragment,
                b"X-A: b\r\r\n" + fragment,
                b"X-A: b\n\n" + fragment,
                b"X-A: b\x00" + fragment,
                b"X-A: b\r\n " + fragment,
                b"X-A: b\r\n\t" + fragment,
                b" " + fragment,
                name + b" : " + value,
                name + b"\t: " + value,
                name + b"\x0b: " + value,
                b"\x00" + fragment,
                b":" + fragment,
                b": " + value,
                fragment.replace(b"-", b"\xe2\x80\x90"),
                b"X-A: b\xc4\x8d\xc4\x8a" + fragment,
                b"\r\n" + fragment,
            ]
        )
        raw = self.ask([key_line(mallory.key), *prove(self.mode, MALLORY)])
        head, _, rest = raw.partition(b"\r\n")
        return Forgery("smuggled header", b"\r\n".join([head, line, rest]), mallory, closes=True)

    def split(self, victim: Person) -> Forgery:
        """A request within a request, by lengths that two readers may understand differently."""
        mallory = self.mallory(victim)
        inner = self.ask([key_line(victim.key), *prove(self.mode, victim.user_id)])
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
        sizes, body = self.dice.choice(
            [
                ([b"Content-Length: 4", b"Transfer-Encoding: chunked"], b"0\r\n\r\n" + inner),
                ([b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(chunked)], chunked),
                ([b"Content-Length: 0", b"Content-Length: %d" % len(inner)], inner),
                ([b"Content-Length: 0, %d" % len(inner)], inner),
                ([b"Content-Length: +0"], inner),
                ([b"Content-Length: -1"], inner),
                ([b"Content-Length: 0x0"], inner),
                ([b"Content-Length: 0_0"], inner),
                ([b"Content-Length: " + "٠".encode()], inner),
                ([b"Transfer-Encoding: xchunked"], b"0\r\n\r\n" + inner),
                ([b"Transfer-Encoding: chunked, identity"], b"0\r\n\r\n" + inner),
                ([b"Transfer-Encoding: identity", b"Content-Length: 0"], inner),
                ([b"Transfer-Encoding : chunked"], b"0\r\n\r\n" + inner),
                ([b"Transfer-Encoding:\x0bchunked"], b"0\r\n\r\n" + inner),
                ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], b"0\r\n\r\n" + inner),
                ([b"Transfer-Encoding: chunked"], b"0x0\r\n\r\n" + inner),
                ([b"Transfer-Encoding: chunked"], b"-0\r\n\r\n" + inner),
                ([b"Transfer-Encoding: chunked"], b"1" + b"0" * 20 + b"\r\n" + inner),
                ([b"Transfer-Encoding: chunked"], b"0;\n\n" + inner),
            ]
        )
        lines = [b"%b: %b" % line for line in (key_line(mallory.key), *prove(self.mode, MALLORY))]
        head = [b"POST %b HTTP/1.1" % CHAT, b"Host: proxy", *lines, *sizes]
        # What is unambiguous for us is not for whoever was in front: the request within it would be the victim's, if
        # it came by itself. Where our reader sees one, it has all that a genuine one has.
        return Forgery("split", b"\r\n".join([*head, b"", body]), mallory, closes=True)

    def detour(self, victim: Person) -> Forgery:
        """Mallory's proof on paths that somebody might take for the victim's, or for another service's."""
        mallory, user = self.mallory(victim), quote(victim.user_id, safe="").encode()
        paths = [
            b"/v1/..%2fmemory/users/" + user + b"/memories",
            b"/v1/%2e%2e/memory/users/" + user + b"/memories",
            b"/v1/../memory/users/" + user + b"/memories",
            b"/v1/..;/memory/users/" + user + b"/export",
            b"/v1/..\\memory\\users\\" + user,
            b"/v1/%2e%2e%2f%2e%2e%2fmetrics",
            b"/v1//memory/users",
            b"/v1/memory/users/" + user + b"/memories",
            b"/v1/users/" + user + b"/memories",
            b"//v1/chat/completions",
            b"/V1/chat/completions",
            b"/v1//chat/completions",
            b"/v1/./chat/completions",
            b"/v1/chat%2fcompletions",
            b"/v1/chat/completions/",
            b"/v1/chat/completions%00",
            b"/v1/chat/completions;user=" + user,
            CHAT + b"?user=" + user + b"&X-User-Id=" + user,
            CHAT + b"?x-user-id=" + user,
            b"/v1/openai/deployments/" + user + b"/chat/completions",
            b"/v1/openai/deployments/../../chat/completions",
            b"http://" + user + b"@proxy" + CHAT,
            b"http://127.0.0.1/memory/users/" + user + b"/memories",
            b"http://proxy/v1/..%2fmemory/users",
        ]
        raw = self.ask(
            [key_line(mallory.key), *prove(self.mode, MALLORY)],
            target=self.dice.choice(paths),
            method=self.dice.choice([b"POST", b"GET", b"PUT", b"DELETE"]),
        )
        return Forgery("detour", raw, mallory, closes=True)

    def control(self, victim: Person) -> Forgery:
        """The control plane, with all that an application and its user have."""
        user = quote(victim.user_id, safe="").encode()
        paths = [
            b"/memory/users",
            b"/memory/users/" + user + b"/memories",
            b"/memory/users/" + user + b"/memories?tenant=" + victim.tenant.encode(),
            b"/memory/users/" + user + b"/export",
            b"/memory/users/" + user + b"/recall",
            b"/memory//users/" + user + b"/memories",
            b"/memory/v1/../users",
            b"/memory/traces",
            b"/memory/journal",
            b"/metrics",
            b"/metrics/",
            b"/%6demory/users",
            b"/memory%2fusers",
            b"http://proxy/memory/users",
        ]
        claim = self.dice.choice(
            [
                [key_line(victim.key)],
                [(b"Authorization", b"Bearer the-admin-tokem")],
                [(b"Authorization", b"Bearer ")],
                [(b"X-Forwarded-For", b"127.0.0.1"), (b"X-Real-IP", b"127.0.0.1")],
                [(b"Authorization", b"Basic dGhlLWFkbWluLXRva2Vu")],
            ]
        )
        raw = render(
            [*claim, *prove(self.mode, victim.user_id)],
            json.dumps({"query": "vault word"}).encode(),
            target=self.dice.choice(paths),
            method=self.dice.choice([b"GET", b"GET", b"POST", b"DELETE"]),
        )
        return Forgery("control plane", raw, None, (307, 401, 403, 404, 405, 429), closes=True)

    def huge(self, victim: Person) -> Forgery:
        """Ids that are none: far too long, with control characters, no UTF-8."""
        user_id = victim.user_id.encode()
        value = self.dice.choice(
            [
                user_id + b"x" * 257,
                user_id * 200,
                b"x" * 20_000,
                b"\xff" + user_id,
                user_id + b"\xc3",
                b"\xed\xa0\x80",
                b"\xc0\xae" + user_id,
                user_id + b"\x7f",
                user_id + b"\xc2\x85",
                b"",
            ]
        )
        proof = [(b"X-User-Id", value)]
        if self.mode == "signed":
            moment = str(int(time.time())).encode()
            digest = hmac.new(SECRET.encode(), moment + b"." + value, hashlib.sha256).hexdigest().encode()
            proof.append((b"X-User-Signature", b"t=" + moment + b",v1=" + digest))
        if self.mode == "jwt":
            proof.append((b"X-User-Token", _token(MALLORY)))
        return Forgery("no id", self.ask([key_line(victim.key), *proof]), None, (400, 431), closes=True)

    def in_the_body(self, victim: Person) -> Forgery:
        """The victim's id in the body, beside Mallory's proof or, where ids are proven, without any."""
        mallory = self.mallory(victim)
        fields = {self.dice.choice(["user", "safety_identifier"]): victim.user_id}
        proof = prove(self.mode, MALLORY) if self.mode == "header" or self.dice.random() < 0.5 else []
        raw = self.ask([key_line(mallory.key), *proof], fields=fields)
        return Forgery("in the body", raw, mallory if proof else None, (200,))

    def of_another_mode(self, victim: Person) -> Forgery:
        """Mallory's proof, and what another mode would believe."""
        mallory = self.mallory(victim)
        extra: Lines = {
            "header": [(b"X-User-Token", _token(victim.user_id)), (b"X-User-Signature", sign(victim.user_id))],
            "signed": [(b"X-User-Token", _token(victim.user_id))],
            "jwt": [(b"X-User-Signature", sign(victim.user_id)), (b"X-User-Id", victim.user_id.encode())],
        }[self.mode]
        raw = self.ask([key_line(mallory.key), *prove(self.mode, MALLORY), *extra])
        statuses = (400,) if self.mode == "jwt" else (200,)
        return Forgery("of another mode", raw, mallory, statuses)

    def stolen_conversation(self, victim: Person) -> Forgery:
        """Mallory, or the victim's namesake at another tenant, goes on with the victim's conversation."""
        other = next(person for person in PEOPLE if person.user_id == victim.user_id and person.tenant != victim.tenant)
        thief = self.dice.choice([self.mallory(victim), other])
        proof = [*prove(self.mode, thief.user_id), (b"X-Conversation-Id", conversation_of(victim).encode())]
        messages = [
            {"role": "user", "content": told_by(victim).replace(victim.marker, "what it was")},
            {"role": "assistant", "content": "Noted."},
            {"role": "user", "content": f"What is my vault word? {self.tag}"},
        ]
        raw = self.ask([key_line(thief.key), *proof], lie=False, fields={"messages": messages})
        return Forgery("stolen conversation", raw, thief, (200,))

    def odd_mode(self, victim: Person) -> Forgery:
        """No proof, or a broken one, and a word about what memory should do."""
        value = self.dice.choice([b"full", b"read", b"off", b"full, off", b"FULL", b"admin", b"shadow"])
        proof: Lines = [] if self.mode == "header" else [(b"X-User-Id", victim.user_id.encode())]
        raw = self.ask([key_line(victim.key), *proof, (b"X-Memory-Mode", value)])
        return Forgery("odd mode", raw, None, (200, 400, 401))

    def badly_signed(self, victim: Person) -> Forgery:
        """Signatures of somebody else, of another time, with another secret, or with something changed."""
        user_id, now = victim.user_id, time.time()
        good = sign(user_id)
        place = self.dice.randrange(len(good) - 64, len(good))
        flipped = b"0" if good[place : place + 1] != b"0" else b"1"
        value = self.dice.choice(
            [
                sign(MALLORY),
                sign(user_id, secret=LOST_SECRET),
                sign(user_id, secret=""),
                sign(user_id, at=now - 301 - self.dice.randrange(10**6)),
                sign(user_id, at=now + 360 + self.dice.randrange(10**6)),
                good.replace(b"t=", b"t=0"),
                good.replace(b"t=", b"t=+"),
                good[:place] + flipped + good[place + 1 :],
                good[:-1],
                good + b"0",
                good.replace(b"v1=", b"v0="),
                good.replace(b"v1=", b"V1="),
                good + b",t=%d" % (now - 5),
                good.replace(b",", b";"),
                b"t=%d,v1=%064x" % (now, self.dice.getrandbits(256)),
                b",".join([b"t=%d" % now, *(b"v1=%064x" % self.dice.getrandbits(256) for _ in range(12))]),
                b"t=%d" % now,
                b"v1=" + b"0" * 64,
                b"",
                b"null",
                b"\xff" * 10,
                good * 20,
            ]
        )
        lines = [(b"X-User-Id", user_id.encode()), (b"X-User-Signature", value)]
        if self.dice.random() < 0.1:
            lines.pop(self.dice.randrange(2))
        return Forgery("badly signed", self.ask([key_line(victim.key), *lines]), None, (401,))

    def bad_token(self, victim: Person) -> Forgery:
        """Tokens of every kind that should not be believed; a few with Mallory's name on the outside."""
        pool = forge_tokens(victim.user_id)
        what = self.dice.choice(sorted(pool))
        value = pool[what]
        chance = self.dice.random()
        if chance < 0.2:  # a byte changed anywhere in a good one
            good = _token(victim.user_id)
            place = self.dice.randrange(len(good) - 1)
            changed = self.dice.choice(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
            value = good[:place] + bytes([changed if changed != good[place] else changed ^ 1]) + good[place + 1 :]
        elif chance < 0.3:
            nonce = {"sub": victim.user_id, "jti": str(self.dice.getrandbits(64))}
            value = sign_with_text({"alg": "HS256"}, claims(**nonce), pem(rsa_key()).encode())
        elif chance < 0.4:
            parts, mallorys = _token(victim.user_id).split(b"."), _token(MALLORY).split(b".")
            value = b".".join((parts[0], self.dice.choice([parts[1], mallorys[1]]), b""))
            value += mallorys[2] if parts[1] in value else parts[2]
        lines: Lines = [(b"X-User-Token", value)]
        if chance > 0.95:
            lines = [(b"X-User-Id", victim.user_id.encode())]
        raw = self.ask([key_line(victim.key), *lines])
        return Forgery("bad token", raw, None, (400, 401), closes=b"\xff" in value)


def told_by(person: Person) -> str:
    return f"My vault word is {person.marker}."


def conversation_of(person: Person) -> str:
    return f"conversation-{PEOPLE.index(person)}"
