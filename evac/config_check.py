"""The checks behind `evac.config.load`: one pass over the file, all mistakes collected."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from evac.access import AccessRules
from evac.backend import Plugin
from evac.config import (
    Cluster,
    ClusterRules,
    Config,
    ConfigError,
    ConfigErrors,
    ConsoleRules,
    EngineRules,
    WindowRules,
)
from evac.decoding import converted
from evac.jobs import Limits
from evac.mistakes import choices_of, in_plain_words, nearest_of, shown, struct_in, struct_listed, type_name
from evac.notify_rules import SECRET_KEYS, NotifyRules
from evac.probe_rules import ProbeRules
from evac.secret import reference_error
from evac.toml_lines import Key, key_lines, line_of

SYNTAX_ERRORS = 20
"""Bad lines looked past, one by one, to find the mistakes behind them."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""Of a cluster: it becomes part of keys (joined by "/"), of file names and of command lines."""

_AT = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)$", re.DOTALL)

T = TypeVar("T", bound=Struct)

_SECTIONS: dict[str, type[Struct]] = {
    "engine": EngineRules,
    "access": AccessRules,
    "limits": Limits,
    "console": ConsoleRules,
    "probe": ProbeRules,
    "window": WindowRules,
    "notify": NotifyRules,
}
_SECRETS: dict[type[Struct], tuple[str, ...]] = {NotifyRules: SECRET_KEYS}
"""Table → its keys that hold a secret reference."""

_TOP = ("read_only", *_SECTIONS, "clusters")

REFERENCES = '"keyring:SERVICE/USER", "command:…", "env:NAME" or "file:PATH"'


class Check:
    """One reading of one file."""

    def __init__(self, path: Path, raw: bytes, plugins: Mapping[str, Plugin]) -> None:
        self._path = path
        self._raw = raw
        self._plugins = plugins
        self._lines: dict[Key, int] = {}
        self._skipped: set[int] = set()
        self._errors: list[ConfigError] = []
        self._origin: dict[str, str] = {}

    def config(self) -> Config:
        """The checked config. Raises ConfigErrors with every mistake."""
        tables = self._parse()
        self._unknown((), tables, _TOP)
        sections: dict[str, Any] = {
            name: self._section((name,), tables.get(name, {}), kind) for name, kind in _SECTIONS.items()
        }
        read_only = self._flag(tables)
        clusters = self._clusters(tables.get("clusters", {}))
        if self._errors:
            raise ConfigErrors(tuple(sorted(self._errors, key=lambda error: error.line)))
        return Config(
            file=self._path, read_only=read_only, clusters=clusters, origin=self._origin, **sections
        )

    # --- syntax ----------------------------------------------------------------------------------

    def _parse(self) -> dict[str, Any]:
        """The file's tables. Past a line that is no TOML it goes on, so that one typo does not hide nine mistakes."""
        try:
            text = self._raw.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = self._raw.count(b"\n", 0, error.start) + 1
            self._add((), "is not UTF-8 text here", line=line)
            raise ConfigErrors(tuple(self._errors)) from None
        for _ in range(SYNTAX_ERRORS):
            try:
                tables = tomllib.loads(text)
            except tomllib.TOMLDecodeError as error:
                text = self._without_bad_line(text, str(error))
            else:
                self._lines = key_lines(text)
                return tables
        raise ConfigErrors(tuple(self._errors))

    def _without_bad_line(self, text: str, error: str) -> str:
        told = _AT.match(error)
        what = (told["what"] if told else error).rstrip(".")
        lines = text.split("\n")
        number = int(told["line"]) if told and told["line"] else len(lines)
        self._add((), f"is not TOML: {what[:1].lower()}{what[1:]}", line=number)
        bad = lines[number - 1].strip()
        # A header that cannot be read puts every key below it in the wrong table; a line that looks fine is the end
        # of something that began earlier. In both cases what follows would be noise.
        if bad.startswith("[") or not bad or number in self._skipped:
            raise ConfigErrors(tuple(self._errors))
        self._skipped.add(number)
        lines[number - 1] = ""
        return "\n".join(lines)

    # --- tables ----------------------------------------------------------------------------------

    def _flag(self, tables: Mapping[str, Any]) -> bool:
        value = tables.get("read_only", False)
        if isinstance(value, bool):
            self._note(("read_only",), given="read_only" in tables)
            return value
        self._add(("read_only",), f"is {shown(value)}", allowed="true or false")
        return True

    def _section(self, key: Key, table: Any, kind: type[T]) -> T | None:
        if not isinstance(table, dict):
            self._add(key, f"is {shown(table)}", allowed=f"a table: [{'.'.join(key)}]")
            return None
        fields = msgspec.structs.fields(kind)
        self._unknown(key, table, [field.encode_name for field in fields])
        return self._struct(key, table, kind, _SECRETS.get(kind, ()))

    def _struct(
        self, key: Key, table: Mapping[str, Any], kind: type[T], secrets: Iterable[str] = ()
    ) -> T | None:
        """Each field by itself, so that every mistake is found; then the whole, for checks across fields."""
        before = len(self._errors)
        values = {}
        for field in msgspec.structs.fields(kind):
            place = (*key, field.encode_name)
            self._note(place, given=field.encode_name in table)
            if field.encode_name not in table:
                if field.required and not self._skipped:
                    self._add(place, "is missing", allowed=type_name(field.type), near=key)
                continue
            value = table[field.encode_name]
            if field.encode_name in secrets and self._bad_secret(place, value):
                continue
            values[field.encode_name] = self._field(place, value, field, kind)
        if len(self._errors) > before or (self._skipped and self._incomplete(kind, values)):
            return None
        try:
            return converted(values, kind, str_keys=True)
        except msgspec.ValidationError as error:
            # A struct that checks itself may tell several mistakes, each on a line that begins with the key it is about.
            for line in str(error).splitlines():
                name = line.split(" ", 1)[0]
                self._add(key, in_plain_words(line), near=(*key, name) if name in table else ())
            return None

    @staticmethod
    def _incomplete(kind: type[Struct], values: Mapping[str, Any]) -> bool:
        return any(
            field.required and field.encode_name not in values for field in msgspec.structs.fields(kind)
        )

    def _field(self, key: Key, value: Any, field: FieldInfo, kind: type[Struct]) -> Any:
        nested = struct_in(field.type)
        if nested is not None and isinstance(value, dict):
            self._section(key, value, nested)
            return value
        item = struct_listed(field.type)
        if item is not None and isinstance(value, list):
            for number, table in enumerate(value, start=1):
                self._section((*key, str(number)), table, item)
            return value
        try:
            converted(value, field.type, strict=True)
        except msgspec.ValidationError as error:
            choices = choices_of(field.type)
            allowed = ", ".join(f'"{choice}"' for choice in choices) or type_name(field.type)
            # msgspec's words add something only where the kind of value is right and its content is not.
            detail = (
                in_plain_words(str(error)) if not choices and isinstance(value, str | list | dict) else ""
            )
            message = f"is {shown(value)}" + (f": {detail}" if detail else "")
            self._add(key, message, allowed=allowed, nearest=nearest_of(str(value), choices))
            return value
        if kind is Limits and value < 0:
            self._add(key, f"is {value}", allowed="0 (no limit) or a number of moves")
        return value

    def _bad_secret(self, key: Key, value: Any) -> bool:
        """Told without the value: it may be a password."""
        if wrong := reference_error(value):
            self._add(key, wrong, allowed=REFERENCES)
        return bool(wrong)

    # --- clusters --------------------------------------------------------------------------------

    def _clusters(self, tables: Any) -> dict[str, Cluster]:
        if not isinstance(tables, dict):
            self._add(("clusters",), f"is {shown(tables)}", allowed="tables: [clusters.NAME]")
            return {}
        found = ((name, self._cluster(name, table)) for name, table in tables.items())
        return {name: cluster for name, cluster in found if cluster is not None}

    def _cluster(self, name: str, table: Any) -> Cluster | None:
        key = ("clusters", name)
        if not NAME.fullmatch(name):
            self._add(
                key, f"{shown(name)} cannot be a cluster's name", allowed="letters, digits, and . _ - inside"
            )
        if not isinstance(table, dict):
            self._add(key, f"is {shown(table)}", allowed=f"a table: [clusters.{name}]")
            return None
        common = {field.encode_name for field in msgspec.structs.fields(ClusterRules)}
        rules = self._struct(key, {k: v for k, v in table.items() if k in common}, ClusterRules)
        plugin = self._plugin(key, table)
        if plugin is None:
            return None
        own = [field.encode_name for field in msgspec.structs.fields(plugin.options_type)]
        self._unknown(key, table, [*common, *own])
        given = {k: v for k, v in table.items() if k in own}
        options = self._struct(key, given, plugin.options_type, plugin.secret_keys)
        if rules is None or options is None:
            return None
        return Cluster(name=name, rules=rules, options=options)

    def _plugin(self, key: Key, table: Mapping[str, Any]) -> Plugin | None:
        kind = table.get("kind")
        if not isinstance(kind, str):
            return None
        if kind in self._plugins:
            return self._plugins[kind]
        broken = getattr(self._plugins, "broken", {}).get(kind, "")
        why = f" and its plugin cannot be loaded: {broken}" if broken else ""
        self._add(
            (*key, "kind"),
            f'is "{kind}", which is not installed{why}',
            allowed=", ".join(f'"{known}"' for known in sorted(self._plugins)) or "no kind is installed",
            nearest=nearest_of(kind, self._plugins),
        )
        return None

    # --- telling ---------------------------------------------------------------------------------

    def _unknown(self, key: Key, table: Mapping[str, Any], allowed: Iterable[str]) -> None:
        names = list(allowed)
        for name in table:
            if name not in names:
                nearest = nearest_of(name, names)
                offer = "" if nearest else ", ".join(sorted(names))
                self._add((*key, name), "is not known here", allowed=offer, nearest=nearest)

    def _note(self, key: Key, *, given: bool) -> None:
        place = f"{self._path.name}:{line_of(self._lines, key)}" if given else "default"
        self._origin[".".join(key)] = place

    def _add(
        self,
        key: Key,
        message: str,
        *,
        allowed: str = "",
        nearest: str = "",
        line: int = 0,
        near: Key = (),
    ) -> None:
        self._errors.append(
            ConfigError(
                file=str(self._path),
                line=line or line_of(self._lines, near or key),
                key=".".join(key),
                message=message,
                allowed=allowed,
                nearest=nearest,
            )
        )
