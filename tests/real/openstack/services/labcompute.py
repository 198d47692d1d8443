"""nova-compute with virt/ on the path of nova.virt: Nova loads only drivers named nova.virt.*."""

import sys
from pathlib import Path

from nova import monkey_patch  # type: ignore[import-not-found]  # of the lab's own environment

monkey_patch.patch(backend="threading")

import nova.virt  # type: ignore[import-not-found]  # noqa: E402 - after the patch, as Nova's own scripts do

nova.virt.__path__.append(str(Path(__file__).resolve().parent / "virt"))

from nova.cmd import compute  # type: ignore[import-not-found]  # noqa: E402

sys.argv[0] = "nova-compute"
compute.main()
