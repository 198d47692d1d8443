"""CAs that are believed, read once: requests and urllib3 read them for every connection, the machine's own in 25 ms."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context


def context(verify: bool | str) -> ssl.SSLContext | None:
    """Checks certificates against the file `verify`, or against the usual CAs; read anew when the file was replaced.

    None: requests is to do it, and to tell what is wrong: with a folder, with no file, or where nothing is checked.
    """
    file = Path(DEFAULT_CA_BUNDLE_PATH if verify is True else verify or "")
    try:
        facts = file.stat()
    except OSError:
        return None
    return _read(str(file), (facts.st_mtime_ns, facts.st_size, facts.st_ino)) if file.is_file() else None


@functools.lru_cache(maxsize=16)
def _read(file: str, _as_it_is: tuple[int, ...]) -> ssl.SSLContext:
    made = create_urllib3_context()
    made.load_verify_locations(cafile=file)
    return made
