"""The way to the upstream: HTTP/1.1 over pooled connections, every byte as it was given and as it came."""

from proxy.upstream.pool import Upstream
from proxy.upstream.request import RawHeaders, Request
from proxy.upstream.response import SWITCHING_PROTOCOLS, Response, Sink

__all__ = ["SWITCHING_PROTOCOLS", "RawHeaders", "Request", "Response", "Sink", "Upstream"]
