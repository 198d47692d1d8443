"""The config: what is wrong is told at once, by line, with what would be right."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.backend import Backend, Plugin, Settings
from evac.config import Config, ConfigError, ConfigErrors, Theme, load, plugins, schema
from evac.toml_lines import key_lines, line_of
from tui.look import THEMES, theme_or_default


class Options(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    url: str
    mode: Literal["fast", "careful"] = "fast"
    password: str = ""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 443
    tags: tuple[str, ...] = ()
    pair: str = ""

    def __post_init__(self) -> None:
        if self.pair and not self.password:
            raise ValueError("pair needs a password")


class Other(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    only_there: str = ""


def no_backend(settings: Settings) -> Backend:
    raise AssertionError(settings)


PLUGINS = {
    "nova": Plugin(kind="nova", options_type=Options, build=no_backend, secret_keys=("password",)),
}


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load(path, PLUGINS)


def mistakes(tmp_path: Path, text: str) -> tuple[ConfigError, ...]:
    with pytest.raises(ConfigErrors) as caught:
        read(tmp_path, text)
    return caught.value.errors


def test_a_theme_that_does_not_exist_is_told_with_those_that_do(tmp_path: Path) -> None:
    (error,) = mistakes(tmp_path, '[console]\ntheme = "drak"\n')
    assert (error.line, error.nearest) == (2, "dark")
    assert '"light"' in str(error)
    assert '"mono"' in str(error)


@pytest.mark.parametrize("theme", THEMES)
def test_every_theme_the_console_has_may_be_configured(tmp_path: Path, theme: str) -> None:
    console = read(tmp_path, f'[console]\ntheme = "{theme}"\n').console
    assert console.theme == theme


def test_every_theme_that_may_be_configured_is_one_the_console_has() -> None:
    assert [theme_or_default(name)[1] for name in get_args(Theme)] == [""] * len(get_args(Theme))


def test_a_missing_file_is_an_empty_config(tmp_path: Path) -> None:
    config = load(tmp_path / "none.toml", PLUGINS)
    assert not config.found
    assert config.clusters == {}
    assert config.engine.idle_exit == 60


def test_what_is_written_is_what_is_used(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
read_only = true
[engine]
idle_exit = 5
[access]
viewers = ["@noc", "eve"]
[limits]
per_source = 1
[clusters.prod]
kind = "nova"
url = "https://x"
label = "PROD"
password = "env:PW"
tags = ["a", "b"]
limits = { total = 3 }
""",
    )
    assert config.read_only
    assert config.engine.idle_exit == 5
    assert config.access.group == "noc"
    assert config.limits.per_source == 1
    prod = config.clusters["prod"]
    assert prod.options == Options(url="https://x", password="env:PW", tags=("a", "b"))
    assert prod.rules.label == "PROD"
    assert prod.rules.limits is not None
    assert prod.rules.limits.total == 3
    assert config.origin["clusters.prod.label"] == "config.toml:12"
    assert config.origin["clusters.prod.stale_after"] == "default"
    assert config.origin["engine.idle_exit"] == "config.toml:4"


TEN = """\
read_onyl = true
read_only = "yes"
[engine]
idle_exit = "long"
[limits]
total = -1
per_sorce = 2
[clusters.a]
kind = "nvoa"
[clusters.b]
kind = "nova"
url = 5
mode = "fst"
port = 70000
password = "hunter2hunter2"
read_timeout = -1
limits = { totl = 2 }
bad =
[clusters."a/b"]
kind = "nova"
"""


def test_ten_mistakes_are_told_at_once_each_with_its_line_and_a_remedy(tmp_path: Path) -> None:
    found = {(error.line, error.key): error for error in mistakes(tmp_path, TEN)}
    expected = {
        (1, "read_onyl"): ("not known", "", "read_only"),
        (2, "read_only"): ('"yes"', "true or false", ""),
        (4, "engine.idle_exit"): ('"long"', "a number, at least 1", ""),
        (6, "limits.total"): ("-1", "0 (no limit)", ""),
        (7, "limits.per_sorce"): ("not known", "", "per_source"),
        (9, "clusters.a.kind"): ("nvoa", '"nova"', "nova"),
        (12, "clusters.b.url"): ("is 5", "a text", ""),
        (13, "clusters.b.mode"): ('"fst"', '"careful", "fast"', "fast"),
        (14, "clusters.b.port"): ("70000", "at most 65535", ""),
        (15, "clusters.b.password"): ("the secret itself", "env:NAME", ""),
        (16, "clusters.b.read_timeout"): ("-1", "at least 0.1", ""),
        (17, "clusters.b.limits.totl"): ("not known", "", "total"),
        (18, ""): ("not TOML", "", ""),
        (19, "clusters.a/b"): ("cannot be a cluster's name", "letters", ""),
    }
    assert found.keys() == expected.keys()
    for key, (message, allowed, nearest) in expected.items():
        error = found[key]
        assert message in error.message
        assert allowed in error.allowed
        assert error.nearest == nearest
        assert str(error).startswith(f"{tmp_path}/config.toml:{key[0]}: ")


def test_a_password_in_the_config_is_refused_and_not_repeated(tmp_path: Path) -> None:
    for value in ('"hunter2hunter2"', "4711471147114711", '["hunter2hunter2"]'):
        errors = mistakes(tmp_path, f'[clusters.a]\nkind = "nova"\nurl = "u"\npassword = {value}\n')
        assert len(errors) == 1
        assert "hunter2" not in str(errors[0])
        assert "4711" not in str(errors[0])
        assert "file:PATH" in errors[0].allowed


def test_a_missing_key_is_told_at_its_table(tmp_path: Path) -> None:
    (error,) = mistakes(tmp_path, '\n\n[clusters.a]\nkind = "nova"\n')
    assert (error.line, error.key, error.message) == (3, "clusters.a.url", "is missing")


def test_a_cluster_without_a_kind_is_told(tmp_path: Path) -> None:
    (error,) = mistakes(tmp_path, '[clusters.a]\nurl = "u"\n')
    assert (error.key, error.message) == ("clusters.a.kind", "is missing")


def test_a_check_across_keys_is_told_at_the_key_it_begins_with(tmp_path: Path) -> None:
    (error,) = mistakes(tmp_path, '[clusters.a]\nkind = "nova"\nurl = "u"\npair = "x"\n')
    assert (error.line, error.message) == (4, "pair needs a password")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a = 1\na = 2\n", 2, "overwrite"),
        ("[engine\nidle_exit = 3\n", 1, "not TOML"),
        ('[clusters.a]\nlabel = "half\n', 2, "not TOML"),
        ("[engine]\nidle_exit = 5\n[engine]\n", 3, "twice"),
        ('x = """\nnever closed\n', 3, "not TOML"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    errors = mistakes(tmp_path, text)
    assert any(error.line == line and message in error.message for error in errors), errors


def test_a_file_in_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes("[clusters.a]\nlabel = 'Zürich'\n".encode("latin-1"))
    with pytest.raises(ConfigErrors) as caught:
        load(path, PLUGINS)
    assert caught.value.errors[0].line == 2


@pytest.mark.parametrize("text", ["clusters = 3\n", "engine = []\n", "[clusters]\na = 1\n", "limits = 'x'\n"])
def test_a_value_where_a_table_belongs_is_told(tmp_path: Path, text: str) -> None:
    (error,) = mistakes(tmp_path, text)
    assert "a table" in error.allowed or "tables" in error.allowed


@given(st.text(alphabet="abkind=[]{}\".#\n' 0é\\", max_size=80))
def test_no_text_makes_it_fall_over(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever is in the file, the answer is a config or a list of mistakes."""
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_text(text, encoding="utf-8")
    with contextlib.suppress(ConfigErrors):
        assert load(path, PLUGINS).found


def test_lines_are_found_through_strings_arrays_and_comments() -> None:
    text = '''# [no.table]
a = """
[not.a.table]
b = 1
"""
c = [ # ] not the end
  "]",
  1,
]
[x."y z"]   # header
d.e = 1
f = '#'
[[list]]
g = 2
'''
    lines = key_lines(text)
    assert lines[("a",)] == 2
    assert ("b",) not in lines
    assert lines[("c",)] == 6
    assert lines[("x", "y z")] == 10
    assert lines[("x", "y z", "d", "e")] == 11
    assert lines[("x", "y z", "f")] == 12
    assert lines[("list", "1", "g")] == 14
    assert line_of(lines, ("x", "y z", "none")) == 10


def test_the_schema_describes_each_kind_with_its_own_keys() -> None:
    other = Plugin(kind="other", options_type=Other, build=no_backend)
    text = json.dumps(schema({**PLUGINS, "other": other}))
    assert '"only_there"' in text
    for word in ("idle_exit", "per_source", "poll_interval", '"url"', '"careful"', '"nova"'):
        assert word in text


def test_every_installed_backend_can_be_described_and_none_is_broken() -> None:
    installed = plugins()
    assert installed.broken == {}
    for kind, plugin in installed.items():
        assert plugin.kind == kind
        names = {field.encode_name for field in msgspec.structs.fields(plugin.options_type)}
        assert set(plugin.secret_keys) <= names
    assert json.dumps(schema(installed))


def test_a_webhook_s_address_is_a_secret_and_never_stands_in_the_config(tmp_path: Path) -> None:
    (error,) = mistakes(tmp_path, '[notify]\nwebhook = "https://chat.example/hooks/s3cr3t"\n')
    assert (error.line, error.key) == (2, "notify.webhook")
    assert "s3cr3t" not in str(error)
    assert "file:PATH" in error.allowed
    assert read(tmp_path, '[notify]\nwebhook = "env:HOOK"\n').notify.ways == ("webhook",)


def test_who_is_told_of_what_is_checked(tmp_path: Path) -> None:
    told = [str(error) for error in mistakes(tmp_path, '[notify]\non = ["progress"]\ncommand = [" "]\n')]
    assert len(told) == 1
    assert "progress" in told[0]
    assert "must begin with a program" in str(mistakes(tmp_path, '[notify]\ncommand = [" "]\n')[0])
    assert "cacert is for a webhook" in str(mistakes(tmp_path, '[notify]\ncacert = "x.pem"\n')[0])
    assert read(tmp_path, "").notify.ways == ()
