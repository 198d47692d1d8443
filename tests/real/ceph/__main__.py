"""`python -m tests.real.ceph up`: see `lab`."""

import sys

from tests.real.ceph.lab import main

sys.exit(main(sys.argv[1:]))
