"""`python -m tests.real.libvirt up`: see `lab`."""

import sys

from tests.real.libvirt.lab import main

sys.exit(main(sys.argv[1:]))
