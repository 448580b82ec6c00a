"""The words by which people and programs name a secret, language by language, and what may stand up to its value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A word for a secret.

    Attributes:
        literal: what is searched for; ASCII in lower case, else as written, without a first letter that has cases.
        pattern: the noun as it is matched where the literal stands.
        adjacent: the value may follow without a verb or a sign, as in "мой пароль qwerty12".
    """

    literal: str
    pattern: str
    adjacent: bool = True


# "pass" alone is a word of its own, or the last of a compound such as DB_PASS.
PASSWORDS: Final[tuple[Noun, ...]] = (
    Noun(
        literal="pass",
        pattern=r"(?<!1)pass(?:words?|wd|wort(?:e|es)?|[ _-]?phrases?|codes?)|(?<=mot de )passe|(?<=palavra-)passe"
        r"|(?<![a-z])pass(?![a-z])",
        adjacent=False,
    ),
    Noun(literal="pwd", pattern=r"pwd", adjacent=False),
    Noun(literal="kennwort", pattern=r"kennwort(?:e|es)?"),
    Noun(literal="contrase", pattern=r"contrase[ñn]as?"),
    Noun(literal="clave", pattern=r"(?<![a-z])claves?(?![a-z])", adjacent=False),
    Noun(literal="senha", pattern=r"(?<![a-z])senhas?(?![a-z])"),
    Noun(literal="parola", pattern=r"(?<![a-z])parola(?:m|n)?(?: d['’]ordine)?(?![a-z])", adjacent=False),
)
# Searched for in texts that are not all ASCII.
PASSWORDS_BEYOND_ASCII: Final[tuple[Noun, ...]] = (
    Noun(literal="ifre", pattern=r"(?<=ş)ifre(?:m|n|si|miz|niz)?(?!\w)"),
    Noun(literal="ароль", pattern=r"(?<=п)ароль"),
    Noun(literal="パスワード", pattern=r"パスワード"),
    Noun(literal="暗証番号", pattern=r"暗証番号"),
    Noun(literal="密码", pattern=r"密码"),
    Noun(literal="密碼", pattern=r"密碼"),
    Noun(literal="비밀번호", pattern=r"비밀번호"),
    Noun(literal="암호", pattern=r"암호"),
    Noun(literal="كلمة المرور", pattern=r"كلمة المرور"),
    Noun(literal="كلمة السر", pattern=r"كلمة السر"),
    Noun(literal="पासवर्ड", pattern=r"पासवर्ड"),
)

# What stands between a noun and what it is: "is" and its like. Signs and particles need no space around them.
COPULAS: Final = (
    r"(?:[ \t]+(?:is|are|was|will be|ist|lautet|war|heißt|heisst|est|c['’]est|es|era|é|è|e['’]|это)(?!\w)|['’]s(?!\w)"
    r"|[ \t]*(?:[—–:：=]|->|は|が|是|为|為|는|은|이|가)|[ \t]+(?:-|هي|هو))"
)
# Words between the two that say nothing.
FILLERS: Final = r"(?:now|still|currently|just|simply|set to|jetzt|aktuell|ahora|agora|adesso|maintenant|теперь|şimdi)"
# A bare word is a password after "my password is" if it ends the clause, and says nothing of a password itself.
OWNERS: Final = r"\b(?:my|our|mein|unser|mon|notre|mi|nuestra|minha|nossa|la mia|мой)(?: \w{1,16})? $"
REMARKS: Final = """
wrong right correct incorrect weak strong safe unsafe secure insecure long short same different expired invalid
valid lost gone compromised hacked leaked stolen empty required working broken bad good fine great terrible awful
easy hard difficult complex complicated simple complicado secret private public unique random common known unknown
there here below above attached this that these those what which it not never always also very really quite too
just still only often usually probably maybe likely saved stored written changed changing reset needed okay alright
important everything nothing something anything mine yours theirs somewhere old outdated new ready set case
"""

# Keys of configurations and headers, by the word that they end in, and what has to stand before it.
KEY_WORDS: Final = (
    "api access secret private encryption signing master account auth service license session storage webhook crypt "
    "admin root application app integration subscription jwt cookie consumer deploy hmac"
)
MACHINE_NOUNS: Final[Mapping[str, str]] = {
    "secret": "secret_key",
    "token": "access_token",
    "key": "api_key",
    "credential": "credential",
}
# Named like secrets and open to everybody, or worth nothing outside of the page.
OPEN_NAMES: Final = (
    r"(?:public|publishable|next|prev\w*|page|paging|continuation|csrf|xsrf|cancel\w*|sync|pad|eos|bos|unk|mask|max"
    r"|min|num\w*|total|prompt|completion|input|output|idempotency|dedup\w*|cache|sort|partition|primary|foreign)"
    r"[\w.-]*[ _.-]?$"
)
# What follows a noun in names of things that are about secrets and are none.
ABOUT: Final = (
    r"(?:[_.-]?(?:length|len|min|max|count|policy|fields?|inputs?|labels?|hints?|url|uri|path|file(?:name)?|columns?"
    r"|names?|types?|ids?|regex|pattern|required|placeholder|errors?|message|expir\w*|age|date|ttl|at|in|strength"
    r"|rules?|manager|reset|changed|version|prefix|format|algorithm|limit|usage|budget|s?_?per_\w+))+$"
)

# Vendors whose keys have no form of their own: what their name is in an assignment, and what the value looks like.
VENDORS: Final[Mapping[str, tuple[str, str]]] = {
    "aws_secret_key": (r"aws|amazon|secret[ _-]?access|\bs3", r"[A-Za-z0-9/+]{40}={0,2}|[A-Za-z0-9/+=]{200,2048}"),
    "datadog_key": (r"datadog|(?<![a-z])dd[ _-]", r"[0-9a-f]{32}|[0-9a-f]{40}"),
    "cloudflare_token": (r"cloudflare|(?<![a-z])cf[ _-]", r"[\w-]{40}|[0-9a-f]{37}"),
    "heroku_key": (r"heroku", r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "twilio_key": (r"twilio", r"[0-9a-f]{32}"),
    "azure_storage_key": (r"azure|account", r"[A-Za-z0-9+/]{86}=="),
    "paypal_secret": (r"paypal", r"E[\w-]{79}"),
    "dropbox_token": (r"dropbox", r"sl\.[\w-]{100,2048}|[a-z0-9]{15}"),
    "airtable_token": (r"airtable", r"key[A-Za-z0-9]{14}"),
    "crypto_private_key": (
        r"private|wallet|ethereum|eth|bitcoin|btc|solana",
        r"(?:0x)?[0-9a-fA-F]{64}|[5KL][1-9A-HJ-NP-Za-km-z]{50,51}|[1-9A-HJ-NP-Za-km-z]{86,90}",
    ),
}
