"""``python -m duplex`` is the command ``duplex``."""

from duplex.cli import main

raise SystemExit(main())
