"""The sections that say who may ask, as whom, and how much."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from proxy.config.fields import File, HeaderName, Key, Name, Origin, Sha256, SharedSecret, Url, VerificationKey
from proxy.config.sections import Section

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class Jwt(Section):
    """How tokens are checked. One kind of key alone: what is checked with a public key must not be believed because
    it was signed with that key as a shared secret.
    """

    header: HeaderName = "X-User-Token"
    algorithms: tuple[Algorithm, ...] = ()
    key: VerificationKey | None = None
    jwks_file: File | None = None
    jwks_url: Url | None = None
    issuer: str | None = None
    audience: str | None = None
    claim: str = Field("sub", min_length=1)

    @property
    def is_symmetric(self) -> bool:
        return any(name.startswith("HS") for name in self.algorithms)


class Identity(Section):
    mode: Literal["header", "signed", "jwt"] = "header"
    header: HeaderName = "X-User-Id"
    body_fallback: bool = True
    secrets: tuple[SharedSecret, ...] = ()
    max_age_s: float = Field(300, gt=0)
    jwt: Jwt = Jwt()

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        if self.mode == "signed" and not self.secrets:
            raise ValueError("identity.secrets: nothing is set; mode signed needs one or more")
        if self.mode == "jwt":
            _check_jwt(self.jwt)
        return self


def _check_jwt(jwt: Jwt) -> None:
    if not jwt.algorithms:
        raise ValueError("identity.jwt.algorithms: nothing is set; mode jwt needs those of your tokens, e.g. [RS256]")
    if jwt.is_symmetric and not all(name.startswith("HS") for name in jwt.algorithms):
        raise ValueError("identity.jwt.algorithms: should be all of shared secrets (HS…), or none of them")
    sources = [jwt.key, jwt.jwks_file, jwt.jwks_url]
    if sum(source is not None for source in sources) != 1:
        raise ValueError("identity.jwt: should have one of key, jwks_file and jwks_url")
    if jwt.is_symmetric and jwt.key is None:
        raise ValueError("identity.jwt.key: nothing is set; shared secrets (HS…) are not published as a JWKS")


class Admin(Section):
    token: SecretStr | None = None
    read_token: SecretStr | None = None
    read_only: bool = False
    cors_origins: tuple[Origin, ...] = ()

    @model_validator(mode="after")
    def _check_read_token(self) -> Self:
        if self.read_token is not None and self.token is None:
            raise ValueError("admin.read_token: is of no use without admin.token")
        return self


class Limits(Section):
    max_in_flight: int = Field(2000, ge=1)
    user_requests_per_minute: float | None = Field(None, gt=0)
    user_max_in_flight: int | None = Field(None, ge=1)


class Client(Section):
    """An application that has a key of the proxy's own. *tenant*: by default one of its own, called like it."""

    name: Name
    key_sha256: Sha256
    tenant: Name | None = None
    upstream_api_key: Key | None = None
    requests_per_minute: float | None = Field(None, gt=0)
    max_in_flight: int | None = Field(None, ge=1)

    @property
    def effective_tenant(self) -> str:
        return self.name if self.tenant is None else self.tenant
