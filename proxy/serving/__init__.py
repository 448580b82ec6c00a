"""The HTTP server around the app: uvicorn, with a protocol and a stop that suit a transparent proxy."""

from proxy.listening import bind
from proxy.serving.server import DrainingServer, loop_factory, make_server

__all__ = ["DrainingServer", "bind", "loop_factory", "make_server"]
