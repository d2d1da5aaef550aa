"""``python -m duplex`` is the command ``duplex``."""

from duplex.cli.main import main

raise SystemExit(main())
