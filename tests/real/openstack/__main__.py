"""`python -m tests.real.openstack up`: see `lab`."""

import sys

from tests.real.openstack.lab import main

sys.exit(main(sys.argv[1:]))
