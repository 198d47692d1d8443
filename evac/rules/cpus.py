"""CPUs by the names that platforms use: which maker, which micro-architecture, which instructions a guest can see there.

The sets hold what guests notice and what sets generations apart, not every flag: from QEMU's "qemu-cpu-models" manual,
libvirt's cpu_map, the x86-64 psABI (levels v2 to v4) and Broadcom's knowledge article 313545 (EVC baselines). TSX (hle, rtm)
counts, as a microcode update that switches it off makes a newer CPU lack what an older one has. MPX does not: kernels no
longer use it, and libvirt lets it go.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct


class Generation(Struct, frozen=True):
    """A micro-architecture."""

    name: str
    vendor: str
    """"Intel", "AMD", …; "": any maker's CPU can be this."""
    features: frozenset[str]


_TSX = "hle rtm"
_AVX512 = "avx512f avx512dq avx512bw avx512cd avx512vl"
_EARLY = "sse2 sse3 ssse3 sse41 sse42 cx16 lahflm rdtscp popcnt aes pclmulqdq movbe rdrand rdseed smep smap fsgsbase"

_INTEL: tuple[tuple[str, str], ...] = (
    ("Merom", "sse2 sse3 ssse3 cx16 lahflm"),
    ("Penryn", "sse41"),
    ("Nehalem", "sse42 popcnt"),
    ("Westmere", "aes pclmulqdq"),
    ("Sandy Bridge", "avx xsave rdtscp tscdeadlinetimer"),
    ("Ivy Bridge", "f16c rdrand fsgsbase smep erms"),
    ("Haswell", "avx2 bmi1 bmi2 fma movbe abm pcid invpcid"),
    ("Broadwell", "adx rdseed smap 3dnowprefetch"),
    ("Skylake (client)", "clflushopt xsavec xgetbv1 xsaves"),
    ("Skylake (server)", f"{_AVX512} clwb pku"),
    ("Cascade Lake", "avx512vnni"),
    (
        "Ice Lake (server)",
        "avx512ifma avx512vbmi avx512vbmi2 avx512bitalg avx512vpopcntdq gfni vaes vpclmulqdq shani rdpid umip la57 wbnoinvd",
    ),
    (
        "Sapphire Rapids",
        "avx512bf16 avx512fp16 amxbf16 amxtile amxint8 avxvnni serialize cldemote movdiri movdir64b fsrm",
    ),
    ("Granite Rapids", "amxfp16 prefetchiti"),
)
"""Each has what those before it have, and more."""

_AMD_OLD: tuple[tuple[str, str], ...] = (
    ("K8", "sse2 sse3"),
    ("K8 rev. F", "cx16 lahflm rdtscp"),
    ("Greyhound", "popcnt abm sse4a 3dnowprefetch"),
    ("Bulldozer", "ssse3 sse41 sse42 aes pclmulqdq avx xsave xop fma4"),
    ("Piledriver", "f16c fma bmi1 tbm"),
    ("Steamroller", "fsgsbase"),
)

_ZEN: tuple[tuple[str, str], ...] = (
    (
        "Zen",
        f"{_EARLY} abm 3dnowprefetch sse4a avx xsave f16c fma bmi1 avx2 bmi2 adx shani clflushopt xsavec xgetbv1 clzero",
    ),
    ("Zen 2", "clwb rdpid umip wbnoinvd xsaves"),
    ("Zen 3", "pku pcid invpcid vaes vpclmulqdq erms fsrm"),
    (
        "Zen 4",
        f"{_AVX512} avx512ifma avx512vbmi avx512vbmi2 avx512vnni avx512bitalg avx512vpopcntdq avx512bf16 gfni la57",
    ),
    ("Zen 5", "avxvnni movdiri movdir64b avx512vp2intersect prefetchiti"),
)

_V2 = "sse2 sse3 ssse3 sse41 sse42 cx16 lahflm popcnt"
_V3 = f"{_V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"

_ANY: tuple[tuple[str, str], ...] = (
    ("kvm64", "sse2 sse3 cx16"),
    ("qemu64", "sse2 sse3 cx16"),
    ("kvm32", "sse2 sse3"),
    ("qemu32", "sse2 sse3"),
    ("x86-64-v2", _V2),
    ("x86-64-v2-aes", f"{_V2} aes"),
    ("x86-64-v3", _V3),
    ("x86-64-v4", f"{_V3} {_AVX512}"),
)
"""Models that any maker's CPU can give a guest (QEMU; Proxmox VE's own x86-64-v2-AES)."""

_EFFICIENT = (
    "clflushopt xsavec xsaves xgetbv1 clwb pku gfni vaes vpclmulqdq shani rdpid umip la57 wbnoinvd avxvnni serialize"
    " cldemote movdiri movdir64b fsrm erms"
)


def _line(vendor: str, steps: Iterable[tuple[str, str]]) -> Iterator[Generation]:
    """Generations that each add to the one before."""
    held: frozenset[str] = frozenset()
    for name, added in steps:
        held |= frozenset(added.split())
        yield Generation(name, vendor, held)


def _table() -> dict[str, Generation]:
    found = [*_line("Intel", _INTEL), *_line("AMD", _AMD_OLD), *_line("AMD", _ZEN)]
    found += [Generation(name, "", frozenset(features.split())) for name, features in _ANY]
    known = {one.name: one for one in found}
    cascade, zen = known["Cascade Lake"], known["Zen"]
    for one in (
        Generation("Cooper Lake", "Intel", cascade.features | {"avx512bf16"}),
        # Efficient cores: newer than Ice Lake, and without AVX-512.
        Generation(
            "Sierra Forest",
            "Intel",
            known["Broadwell"].features | frozenset(f"{_EARLY} {_EFFICIENT}".split()),
        ),
        Generation("Dhyana", "Hygon", zen.features - {"shani"}),
    ):
        known[one.name] = one
    return known


GENERATIONS: Mapping[str, Generation] = _table()
"""By name, oldest first within a maker."""

_NAMES: tuple[tuple[str, str], ...] = (
    # QEMU, libvirt, Nova, Proxmox VE; EVC modes. Longer names before their beginnings.
    ("conroe|core2duo|intel-merom", "Merom"),
    ("penryn|intel-penryn", "Penryn"),
    ("nehalem|intel-nehalem", "Nehalem"),
    ("westmere|intel-westmere", "Westmere"),
    ("sandybridge|intel-sandybridge", "Sandy Bridge"),
    ("ivybridge|intel-ivybridge", "Ivy Bridge"),
    ("haswell|intel-haswell", "Haswell"),
    ("broadwell|intel-broadwell", "Broadwell"),
    ("skylake-client", "Skylake (client)"),
    ("skylake-server|intel-skylake", "Skylake (server)"),
    ("cascadelake-server|intel-cascadelake", "Cascade Lake"),
    ("cooperlake|intel-cooperlake", "Cooper Lake"),
    ("icelake-server|intel-icelake", "Ice Lake (server)"),
    ("sapphirerapids|intel-sapphirerapids|emeraldrapids|intel-emeraldrapids", "Sapphire Rapids"),
    ("graniterapids|intel-graniterapids", "Granite Rapids"),
    ("sierraforest", "Sierra Forest"),
    ("opteron_g1|amd-rev-e", "K8"),
    ("opteron_g2|amd-rev-f", "K8 rev. F"),
    ("opteron_g3|phenom|amd-greyhound|amd-greyhound-no3dnow", "Greyhound"),
    ("opteron_g4|amd-bulldozer", "Bulldozer"),
    ("opteron_g5|amd-piledriver", "Piledriver"),
    ("amd-steamroller", "Steamroller"),
    ("epyc-turin|amd-zen5", "Zen 5"),
    ("epyc-genoa|amd-zen4", "Zen 4"),
    ("epyc-milan|amd-zen3", "Zen 3"),
    ("epyc-rome|amd-zen2", "Zen 2"),
    ("epyc|amd-zen", "Zen"),
    ("dhyana", "Dhyana"),
)

_BY_NAME = {alias: name for aliases, name in _NAMES for alias in aliases.split("|")} | {
    name: name for name, _ in _ANY
}

_SUFFIX = re.compile(r"(-notsx|-ibrs|-ibpb|-tsx|-v\d+)+$")
_HAS_TSX = frozenset(
    {
        "Haswell",
        "Broadwell",
        "Skylake (client)",
        "Skylake (server)",
        "Cascade Lake",
        "Cooper Lake",
        "Ice Lake (server)",
    }
)

_SOLD: tuple[tuple[str, str], ...] = (
    # What is printed on the box, as /proc/cpuinfo and vSphere tell it. Intel: the second digit is the generation.
    (r"xeon.* (platinum|gold|silver|bronze) \d1\d\d", "Skylake (server)"),
    (r"xeon.* (platinum|gold) [5-8]3\d\dh", "Cooper Lake"),
    (r"xeon.* (platinum|gold|silver|bronze) \d2\d\d", "Cascade Lake"),
    (r"xeon.* (platinum|gold|silver) \d3\d\d", "Ice Lake (server)"),
    (r"xeon.* (platinum|gold|silver|bronze|max) \d[45]\d\d", "Sapphire Rapids"),
    (r"xeon.* 6[5-9]\d\dp", "Granite Rapids"),
    (r"xeon.* 6[5-9]\d\de", "Sierra Forest"),
    (r"xeon.* e[57]-?\d+\w* v4", "Broadwell"),
    (r"xeon.* e[357]-?\d+\w* v3", "Haswell"),
    (r"xeon.* e[357]-?\d+\w* v2", "Ivy Bridge"),
    (r"xeon.* e3-?\d+\w* v[56]", "Skylake (client)"),
    (r"xeon.* e[35]-?[124]\d+", "Sandy Bridge"),
    (r"xeon.* e7-? ?\d+", "Westmere"),
    (r"xeon.* [xel]56\d\d", "Westmere"),
    (r"xeon.* [xel]55\d\d", "Nehalem"),
    (r"epyc \d\w\d5", "Zen 5"),
    (r"epyc \d\w\d4", "Zen 4"),
    (r"epyc 7\w\d3", "Zen 3"),
    (r"epyc 7\w\d2", "Zen 2"),
    (r"epyc 7\w\d1", "Zen"),
)
_SOLD_AS = tuple((re.compile(pattern), name) for pattern, name in _SOLD)

_OTHER_WORDS = {
    "pni": "sse3",
    "pclmuldq": "pclmulqdq",
    "lzcnt": "abm",
    "sha": "shani",
    "lahf": "lahflm",
    "tscdeadline": "tscdeadlinetimer",
}


@functools.lru_cache(maxsize=1024)
def generation(model: str) -> Generation | None:
    """By any of a CPU's names; None: evac's table does not know it."""
    word = model.strip().lower()
    name = _BY_NAME.get(word) or _BY_NAME.get(_SUFFIX.sub("", word))
    if name is None:
        spoken = re.sub(r"\((r|tm)\)|\bcpu\b", "", word)
        spoken = " ".join(spoken.split())
        name = next((known for pattern, known in _SOLD_AS if pattern.search(spoken)), None)
    if name is None:
        return None
    found = GENERATIONS[name]
    if name in _HAS_TSX and word in _BY_NAME_TSX:
        return Generation(found.name, found.vendor, found.features | frozenset(_TSX.split()))
    return found


_BY_NAME_TSX = frozenset(
    f"{alias}{more}"
    for alias, name in _BY_NAME.items()
    if name in _HAS_TSX and not alias.startswith("intel-")
    for more in ("", "-ibrs")
)
"""QEMU's models that promise TSX: those whose name does not say "noTSX"."""


@functools.lru_cache(maxsize=1024)
def told(model: str, features: tuple[str, ...]) -> frozenset[str]:
    """What a host's CPU can do, of what evac's table knows of. Empty: not told.

    libvirt's capabilities name a model and what the host has beyond it; Nova and /proc/cpuinfo name everything. Then what
    is missing from the list is switched off, but for what no firmware can switch off.
    """
    named = frozenset(normal(one) for one in features)
    known = generation(model)
    if known is None:
        return named & FEATURES
    return (named | (known.features & _FIXED if "sse2" in named else known.features)) & FEATURES


def normal(feature: str) -> str:
    """One spelling for "sse4.2", "sse4_2" and "sse4-2"."""
    word = re.sub(r"[._\-]", "", feature.strip().lower())
    return _OTHER_WORDS.get(word, word)


_FIXED = frozenset(_V2.split()) | {"rdtscp"}
"""Part of every processor of a generation, whatever its firmware says."""

FEATURES: frozenset[str] = frozenset(_TSX.split()).union(*(one.features for one in GENERATIONS.values()))
"""All that the table knows of."""
