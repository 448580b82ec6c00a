"""The command line: one module a command family, registered in :mod:`proxy.cli.main`."""
