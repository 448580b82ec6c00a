"""The HTTP server around the app: uvicorn, with a protocol and a stop that suit a transparent proxy."""

from proxy.serving.server import DrainingServer, bind, make_server

__all__ = ["DrainingServer", "bind", "make_server"]
