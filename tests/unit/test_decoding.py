"""Threads that decode the same types for the first time at the same moment do not bring the process down."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

STORM = '''
import sys, threading, types
import msgspec
from evac.decoding import converted, from_json, from_msgpack

sys.setswitchinterval(1e-6)
BODY = b'{"x":{"x":{"x":{"z":1}}},"y":[{"y":[{"z":"a"}]}],"z":5}'


def family(number):
    """A type of several levels that nobody has decoded yet."""
    module = types.ModuleType(f"family{number}")
    sys.modules[module.__name__] = module
    text = "import msgspec\\nclass Level0(msgspec.Struct):\\n  a: 'list[int]' = []\\n"
    for level in range(1, 9):
        text += (
            f"class Level{level}(msgspec.Struct):\\n"
            f"  x: 'Level{level - 1} | None' = None\\n  y: 'list[Level{level - 1}]' = []\\n  z: 'int | str' = 0\\n"
        )
    exec(text, module.__dict__)
    return module.Level8


def decode(kind, how, start):
    start.wait()
    for way in how:
        assert way(kind).x.x.x.z == 1


WAYS = [
    lambda kind: from_json(BODY, kind),
    lambda kind: from_msgpack(msgspec.msgpack.encode(msgspec.json.decode(BODY)), kind),
    lambda kind: converted(msgspec.json.decode(BODY), kind),
]
for number in range(100):
    kind, start = family(number), threading.Barrier(4)
    threads = [
        threading.Thread(target=decode, args=(kind, WAYS[turn % 3 :] + WAYS[: turn % 3], start)) for turn in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("survived")
'''


def test_many_threads_decode_a_new_type_at_once() -> None:
    """With msgspec's own functions this process ends by SIGSEGV."""
    done = subprocess.run(
        [sys.executable, "-c", STORM], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr[-2000:]


RAW = re.compile(
    r"msgspec\.(?:json|msgpack)\.decode\((?:[^()]|\([^()]*\))*type=|msgspec\.(?:json|msgpack)\.Decoder\(|msgspec\.convert\("
)


def test_nothing_decodes_into_types_by_another_way() -> None:
    files = [path for name in ("evac", "backends", "tui") for path in (ROOT / name).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}: {hit.group()}"
        for path in files
        if path != ROOT / "evac" / "decoding.py"
        for hit in RAW.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found
