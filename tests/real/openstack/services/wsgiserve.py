"""wsgiserve.py NAME MODULE PORT THREADS: serve MODULE.application with waitress on 127.0.0.1."""

import importlib
import os
import sys

import waitress  # type: ignore[import-not-found, import-untyped, unused-ignore]  # of the lab's own environment

name, module, port, threads = sys.argv[1:5]
sys.argv = [f"{name}-api"]  # the services parse sys.argv themselves
if name == "nova":
    sys.argv += ["--log-file", f"{os.environ['EVAC_LAB_STATE']}/log/nova-api.log"]

waitress.serve(
    importlib.import_module(module).application,
    host="127.0.0.1",
    port=int(port),
    threads=int(threads),
    channel_timeout=600,
    clear_untrusted_proxy_headers=False,
)
