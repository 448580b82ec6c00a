"""Public formats of tokens: what issuers put in front of them so that they can be found. One format is one row.

Every pattern is tried where one of its anchors stands and nothing alphanumeric before it, is bounded or cannot overlap
with itself, so that a text costs no more than its length; lengths are lower bounds where the issuer says they may grow.
"""

from typing import Final

from proxy.redaction.base import Rule
from proxy.redaction.values import is_varied

# A token ends where nothing follows that could belong to it.
_END: Final = r"(?![A-Za-z0-9])"
_HEX32: Final = r"[0-9a-fA-F]{32}"


def _rule(kind: str, anchors: str, pattern: str, why: str) -> Rule:
    return Rule(kind, tuple(anchors.split()), pattern + _END, why, is_varied)


# Where a token begins whose anchor does not: an escaped line end before it ends in a letter that is not its own.
_START: Final = r"(?<![\w.~-](?<!\\[nrt]))"

# Anchors begin the token.
PREFIXED: Final[tuple[Rule, ...]] = (
    _rule("anthropic_key", "sk-ant-", r"sk-ant-[a-z0-9]{2,12}-[\w-]{20,200}", "vendor's own prefix, two parts"),
    _rule("openrouter_key", "sk-or-", r"sk-or-v\d-[A-Za-z0-9]{40,80}", "prefix and length"),
    _rule("langfuse_key", "sk-lf-", r"sk-lf-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "prefix and a UUID"),
    _rule("openai_key", "sk-", r"sk-(?:proj|svcacct|admin|service|None)-[\w-]{20,250}", "project keys"),
    _rule("openai_key", "sk-", r"sk-[A-Za-z0-9]{20,64}(?:T3BlbkFJ[A-Za-z0-9]{20,64})?", "user keys, and of lookalikes"),
    _rule("openai_key", "sess-", r"sess-[A-Za-z0-9]{40}", "session of the web console"),
    _rule("aws_access_key_id", "AKIA ASIA ABIA ACCA", r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}", "prefix, base 32"),
    _rule("google_api_key", "AIza", r"AIza[\w-]{30,45}", "prefix and length"),
    _rule("google_oauth_secret", "GOCSPX-", r"GOCSPX-[\w-]{20,40}", "prefix and length"),
    _rule("google_oauth_token", "ya29.", r"ya29\.[\w-]{20,2048}", "access token"),
    _rule("google_oauth_token", "1//0", r"1//0[\w-]{30,256}", "refresh token"),
    _rule("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{30,255}", "classic, OAuth, app, refresh"),
    _rule("github_token", "github_pat_", r"github_pat_\w{40,255}", "fine-grained"),
    _rule(
        "gitlab_token",
        "glpat- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glffct- GR1348941",
        r"(?:gl[a-z]{2,5}-|GR1348941)[\w-]{20,300}(?:\.[0-9a-z]{2}\.[0-9a-z]{7,9})?",
        "personal, deploy, runner, job, trigger, feed, mail, agent, OAuth, SCIM, flags",
    ),
    _rule("bitbucket_password", "ATBB", r"ATBB[A-Za-z0-9]{28,40}", "app password"),
    _rule("atlassian_token", "ATATT3 ATCTT3", r"AT[AC]TT3[\w=-]{80,260}", "API token, repository token"),
    _rule("slack_token", "xox", r"xox[abceoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,250}", "bot, user, app, refresh, legacy"),
    _rule("slack_token", "xapp-", r"xapp-\d-[A-Z0-9]{6,20}-\d{6,20}-[0-9a-f]{40,80}", "app-level"),
    _rule(
        "slack_webhook",
        "hooks.slack.com/",
        r"hooks\.slack\.com/(?P<secret>(?:services|workflows|triggers)/[\w/+-]{20,150})",
        "whoever knows the path may post",
    ),
    _rule(
        "discord_webhook",
        "discord.com/api/ discordapp.com/api/",
        r"discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/(?P<secret>\d{15,22}/[\w-]{50,100})",
        "whoever knows the path may post",
    ),
    _rule("discord_token", "mfa.", r"mfa\.[\w-]{80,100}", "user with two factors"),
    _rule("stripe_key", "sk_ rk_", r"[sr]k_(?:live|test|prod)_[A-Za-z0-9]{16,250}", "secret, restricted"),
    _rule("stripe_webhook_secret", "whsec_", r"whsec_[A-Za-z0-9+/]{24,100}={0,2}", "signing secret; svix, too"),
    _rule("square_token", "sq0", r"sq0(?:atp|csp|idp)-[\w-]{22,43}", "prefix"),
    _rule("square_token", "EAAA", r"EAAA[\w-]{60}", "prefix and length"),
    _rule(
        "braintree_token",
        "access_token$",
        r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",
        "PayPal's Braintree",
    ),
    _rule("twilio_key", "SK", rf"SK{_HEX32}", "API key; AC… is only an account's name"),
    _rule("sendgrid_key", "SG.", r"SG\.[\w-]{16,24}\.[\w-]{32,48}", "two parts"),
    _rule("mailgun_key", "key-", rf"key-{_HEX32}", "prefix and length"),
    _rule("brevo_key", "xkeysib- xsmtpsib-", r"x(?:key|smtp)sib-[A-Za-z0-9]{48,72}-[A-Za-z0-9]{16}", "two parts"),
    _rule("resend_key", "re_", r"re_[A-Za-z0-9]{6,10}_[A-Za-z0-9]{20,30}", "two parts"),
    _rule("npm_token", "npm_", r"npm_[A-Za-z0-9]{30,50}", "prefix and length"),
    _rule("pypi_token", "pypi-AgE", r"pypi-AgE[\w-]{40,300}", "a macaroon of a known place"),
    _rule("rubygems_key", "rubygems_", r"rubygems_[A-Za-z0-9]{40,64}", "prefix and length"),
    _rule("crates_token", "cio", r"cio[A-Za-z0-9]{32}", "prefix and length"),
    _rule("dockerhub_token", "dckr_", r"dckr_(?:pat|oat)_[\w-]{20,60}", "personal, organisation"),
    _rule("huggingface_token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{30,50}", "prefix and length"),
    _rule("groq_key", "gsk_", r"gsk_[A-Za-z0-9]{40,64}", "prefix and length"),
    _rule("xai_key", "xai-", r"xai-[A-Za-z0-9]{60,100}", "prefix and length"),
    _rule("perplexity_key", "pplx-", r"pplx-[A-Za-z0-9]{40,64}", "prefix and length"),
    _rule("nvidia_key", "nvapi-", r"nvapi-[\w-]{60,80}", "prefix and length"),
    _rule("replicate_token", "r8_", r"r8_[A-Za-z0-9]{30,45}", "prefix and length"),
    _rule("fireworks_key", "fw_", r"fw_[A-Za-z0-9]{22,24}", "prefix and length"),
    _rule("elevenlabs_key", "sk_", r"sk_[0-9a-f]{48}", "prefix and length"),
    _rule("tavily_key", "tvly-", r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{28,40}", "prefix and length"),
    _rule("pinecone_key", "pcsk_", r"pcsk_\w{50,80}", "prefix and length"),
    _rule("langsmith_key", "lsv2_", rf"lsv2_(?:pt|sk)_{_HEX32}_[0-9a-f]{{10}}", "two parts"),
    _rule("databricks_token", "dapi", r"dapi[A-Za-z0-9]{28,40}(?:-\d)?", "prefix and length"),
    _rule("newrelic_key", "NRAK- NRII- NRIQ- NRRA- NRAA-", r"NR(?:AK|II|IQ|RA|AA)-[\w-]{24,45}", "by use"),
    _rule("grafana_token", "glsa_", r"glsa_[A-Za-z0-9]{24,40}_[A-Za-z0-9]{6,10}", "service account, checksum"),
    _rule("grafana_token", "glc_", r"glc_[A-Za-z0-9+/]{32,400}={0,2}", "cloud"),
    _rule("sentry_token", "sntrys_", r"sntrys_[A-Za-z0-9+/=]{40,400}_[\w+/-]{40,50}", "organisation"),
    _rule("sentry_token", "sntryu_", r"sntryu_[A-Za-z0-9]{48,72}", "user"),
    _rule("heroku_key", "HRKU-", r"HRKU-[\w-]{36,80}", "prefix and length"),
    _rule("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[A-Za-z0-9]{40,80}", "prefix and length"),
    _rule("linear_key", "lin_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,64}", "prefix and length"),
    _rule("notion_token", "ntn_", r"ntn_[A-Za-z0-9]{40,60}", "prefix and length"),
    _rule("notion_token", "secret_", r"secret_[A-Za-z0-9]{43}", "prefix and length"),
    _rule("airtable_token", "pat", r"pat[A-Za-z0-9]{14}\.[A-Za-z0-9]{40,64}", "two parts"),
    _rule(
        "shopify_token",
        "shpat_ shpca_ shppa_ shpss_ shptka_ shpua_",
        r"shp(?:at|ca|pa|ss|tka|ua)_[A-Za-z0-9]{24,64}",
        "admin, custom, private, shared, partner",
    ),
    _rule("vault_token", "hvs. hvb. hvr.", r"hv[sbr]\.[\w-]{20,300}", "service, batch, recovery"),
    _rule("figma_token", "figd_", r"figd_[\w-]{38,60}", "prefix and length"),
    _rule("postman_key", "PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}", "two parts"),
    _rule("pulumi_token", "pul-", r"pul-[A-Za-z0-9]{36,48}", "prefix and length"),
    _rule("doppler_token", "dp.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]{2,35}\.)?[A-Za-z0-9]{40,44}", "prefix"),
    _rule("planetscale_token", "pscale_", r"pscale_(?:tkn|pw|oauth)_[\w-]{32,64}", "prefix and length"),
    _rule("supabase_key", "sbp_ sb_secret_", r"sb(?:p_(?:v\d_)?[A-Za-z0-9]{32,48}|_secret_[\w-]{20,60})", "two forms"),
    _rule("tailscale_key", "tskey-", r"tskey-[a-z]{3,10}-[A-Za-z0-9-]{20,80}", "prefix"),
    _rule("artifactory_key", "AKCp", r"AKCp[A-Za-z0-9]{60,80}", "prefix and length"),
    _rule("alibaba_key_id", "LTAI", r"LTAI[A-Za-z0-9]{12,24}", "prefix and length"),
    _rule("onepassword_token", "ops_eyJ", r"ops_eyJ[\w-]{100,2048}={0,2}", "service account"),
    _rule("posthog_key", "phx_", r"phx_[A-Za-z0-9]{40,60}", "personal; phc_ is public"),
    _rule("circleci_token", "CCIPAT_ CCIPRJ_", r"CCIP(?:AT|RJ)_[A-Za-z0-9]{16,30}_[0-9a-f]{40}", "two parts"),
    _rule("buildkite_token", "bkua_", r"bkua_[A-Za-z0-9]{32,48}", "prefix and length"),
    _rule("netlify_token", "nfp_", r"nfp_[A-Za-z0-9]{36,40}", "prefix and length"),
    _rule("cloudflare_token", "v1.0-", r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}", "origin CA key"),
    _rule("dynatrace_token", "dt0", r"dt0[a-z]\d{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}", "two parts"),
    _rule("age_key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", "Bech32"),
    _rule("nostr_key", "nsec1", r"nsec1[02-9ac-hj-np-z]{58}", "Bech32"),
    _rule("crypto_private_key", "xprv yprv zprv tprv", r"[xyzt]prv[1-9A-HJ-NP-Za-km-z]{100,110}", "extended key"),
    _rule(
        "jwt",
        "eyJ",
        r"(?<![\w-](?<!\\[nrt]))eyJ[\w-]{6,8192}\.(?:eyJ[\w-]{4,16384}\.[\w-]{16,1024}|(?:[\w-]{0,16384}\.){3}[\w-]{16,64})",
        "two JSON objects and a signature, or the five parts of an encrypted one",
    ),
)

# Anchors stand somewhere within; the pattern is searched for in the run.
MARKED: Final[tuple[Rule, ...]] = (
    _rule("terraform_token", ".atlasv1.", _START + r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,100}", "marked inside"),
    _rule("telegram_token", ":AA", _START + r"\d{8,10}:AA[\w-]{30,40}", "a bot's number and 35 characters"),
    _rule("azure_client_secret", "Q~", _START + r"[\w~.-]{3}\dQ~[\w~.-]{31,34}", "marked inside"),
    _rule("newrelic_key", "NRAL", _START + r"[0-9a-f]{36}NRAL", "licence key, marked at its end"),
    _rule("mailchimp_key", "-us", _START + r"[0-9a-f]{32}-us\d{1,2}", "hexadecimal and a data centre"),
    _rule("mailgun_key", "-", _START + r"[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}(?!-)", "three parts of known lengths"),
    _rule(
        "discord_token",
        ".",
        _START + r"[MNO][A-Za-z0-9_-]{23,27}\.[\w-]{6}\.[\w-]{27,45}",
        "a bot's number in base 64, a time, a signature",
    ),
    _rule(
        "azure_storage_key",
        "AccountKey= SharedAccessKey= sharedaccesskey= accountkey=",
        r"(?i:(?:Account|SharedAccess)Key=)(?P<secret>[A-Za-z0-9+/]{40,90}={0,2})",
        "of a connection string",
    ),
    _rule("azure_sas", "sig=", r"(?<=[?&;]sig=)(?P<secret>[A-Za-z0-9%+/]{40,90}(?:=|%3[Dd])?)", "signature of a URL"),
)
