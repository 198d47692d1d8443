"""config.toml → frozen settings. Every mistake is told at once, with file, line, key, remedy and the nearest name.

What may stand in the file is described by the structs below and by the plugins' `options_type`; the schema, the
checks and the defaults all come from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from evac.access import AccessRules
from evac.backend import Plugin
from evac.jobs import Limits
from evac.mistakes import Mistake
from evac.notify_rules import NotifyRules
from evac.probe_rules import ProbeRules
from evac.ssh_rules import ShellRules

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


Theme = Literal["", "dark", "light", "colour-blind", "color-blind", "mono"]
"""The console's themes by name, and "" for its default. They are drawn in `tui.look`, which the engine never imports."""


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class EngineRules(_Table, frozen=True, kw_only=True):
    """[engine]."""

    idle_exit: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    """Seconds after the last console left and the last work ended; not used when run as a service."""
    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 90
    """Days after which ended orders are forgotten and audit records move into closed files; 0: never."""


class ConsoleRules(_Table, frozen=True, kw_only=True):
    """[console]: defaults that the command line's switches override."""

    theme: Theme = ""
    ascii: bool = False
    mouse: bool = True
    bell: bool = True
    """Ring the terminal when a window or a drain needs somebody, or is done."""


class WindowRules(_Table, frozen=True, kw_only=True):
    """[window]: maintenance windows."""

    approvals: Annotated[int, Meta(ge=0, le=9)] = 0
    """Other people who must have approved any plan; a plan may ask for more."""
    hook: tuple[str, ...] = ()
    """Words of the command that new plans run on each host; (): a person restarts it."""


class ClusterRules(_Table, frozen=True, kw_only=True):
    """What every [clusters.NAME] may hold, whatever its kind. The rest belongs to the kind."""

    kind: str
    label: str = ""
    read_only: bool = False
    stale_after: Seconds = 60.0
    """Seconds after which figures are drawn as stale, and no new action starts on them."""
    poll_interval: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    """Seconds between two polls in quiet times; the poller goes faster while moves are in flight."""
    connect_timeout: Annotated[float, Meta(ge=0.1, le=300)] = 5.0
    read_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    limits: Limits | None = None
    """None: as in the top-level [limits]."""
    shell: ShellRules | None = None
    """How a window gets onto its hosts; None: not at all."""


class Cluster(Struct, frozen=True, kw_only=True):
    """One cluster, checked."""

    name: str
    rules: ClusterRules
    options: Any
    """An instance of the plugin's `options_type`."""

    @property
    def kind(self) -> str:
        """Which plugin drives it."""
        return self.rules.kind


class Config(Struct, frozen=True, kw_only=True):
    """Everything, checked."""

    file: Path
    found: bool = True
    """False: there is no such file; all values are defaults and there are no clusters."""
    read_only: bool = False
    engine: EngineRules = EngineRules()
    access: AccessRules = AccessRules()
    limits: Limits = Limits()
    console: ConsoleRules = ConsoleRules()
    probe: ProbeRules = ProbeRules()
    window: WindowRules = WindowRules()
    notify: NotifyRules = NotifyRules()
    clusters: Mapping[str, Cluster] = msgspec.field(default_factory=dict)
    origin: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Key path ("clusters.prod.label") → "config.toml:12", or "default"."""


ConfigError = Mistake


class ConfigErrors(Exception):
    """All mistakes of a file."""

    def __init__(self, errors: tuple[ConfigError, ...]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


class Plugins(dict[str, Plugin]):
    """Kind → plugin; `broken` says which entry points could not be loaded, and why."""

    broken: dict[str, str]


def plugins() -> Plugins:
    """All installed backends. One that cannot be imported is left out, with the reason kept."""
    found = Plugins()
    found.broken = {}
    for entry in metadata.entry_points(group="evac.backends"):
        try:
            plugin = entry.load()
        except Exception as error:  # noqa: BLE001  # other people's code: one bad plugin must not stop the rest
            found.broken[entry.name] = f"{type(error).__name__}: {error}"
            continue
        if isinstance(plugin, Plugin):
            found[plugin.kind] = plugin
        else:
            found.broken[entry.name] = f"{entry.value} is no evac.backend.Plugin"
    return found


def load(path: Path, plugins: Mapping[str, Plugin]) -> Config:
    """The checked config. A file that does not exist gives the defaults with `found=False`. Raises ConfigErrors."""
    from evac.config_check import Check  # noqa: PLC0415  # it imports this module's structs

    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Config(file=path, found=False)
    except OSError as error:
        mistake = ConfigError(file=str(path), line=0, key="", message=f"cannot be read: {error.strerror}")
        raise ConfigErrors((mistake,)) from None
    return Check(path, raw, plugins).config()


def schema(plugins: Mapping[str, Plugin]) -> dict[str, Any]:
    """JSON Schema of config.toml, for editors."""
    kinds = [_cluster_type(plugin) for _, plugin in sorted(plugins.items())]
    table: Any = kinds[0] if kinds else ClusterRules
    for kind in kinds[1:]:
        table = table | kind
    top = msgspec.defstruct(
        "Config",
        [
            ("read_only", bool, False),
            ("engine", EngineRules, EngineRules()),
            ("access", AccessRules, AccessRules()),
            ("limits", Limits, Limits()),
            ("console", ConsoleRules, ConsoleRules()),
            ("probe", ProbeRules, ProbeRules()),
            ("window", WindowRules, WindowRules()),
            ("notify", NotifyRules, NotifyRules()),
            ("clusters", dict[str, table], msgspec.field(default_factory=dict)),
        ],
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return msgspec.json.schema(top)


def _cluster_type(plugin: Plugin) -> type[Struct]:
    """ClusterRules and the kind's own options in one struct, tagged by `kind`, for the schema only."""
    common = [field for field in msgspec.structs.fields(ClusterRules) if field.name != "kind"]
    fields: list[Any] = []
    for field in (*common, *msgspec.structs.fields(plugin.options_type)):
        if field.required:
            fields.append((field.encode_name, field.type))
        else:
            # The schema only needs to know that there is a default; a dict's factory cannot be shown in it.
            default = None if field.default is msgspec.NODEFAULT else field.default
            fields.append((field.encode_name, field.type, default))
    return msgspec.defstruct(
        f"Cluster_{plugin.kind}",
        fields,
        tag_field="kind",
        tag=plugin.kind,
        kw_only=True,
        forbid_unknown_fields=True,
    )
