"""The command line: one module a command family, registered here."""

from proxy.cli.main import main

__all__ = ["main"]
