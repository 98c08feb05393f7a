"""``python -m convcore``: the command line."""

from .cli import main

raise SystemExit(main())
