"""`python -m fmsel.cli`."""

import sys

from fmsel.cli.app import main

sys.exit(main())
