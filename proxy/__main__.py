"""``python -m proxy``: the same as the command ``memory-proxy``."""

from proxy.cli.main import main

main()
