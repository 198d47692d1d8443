"""The config's commands: template, check, show, import; private files and TOML text."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from evac.backend import Found
from evac.config import load, plugins, schema
from evac.toml_text import toml_key, toml_value
from tui.cli import cli
from tui.commands.configuring import template
from tui.commands.exits import Code, Stop
from tui.commands.importing import cluster_name, import_found, imported
from tui.commands.private_file import write_private

ROOT = Path(__file__).resolve().parents[2]
MAGIC_WORD = "hunter2-Sesame!"


def evac(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def uncommented() -> str:
    """The template with every setting switched on: "#key = …" is a setting, "# prose" is not."""
    return re.sub(r"^#(?=[a-z0-9_-]+ = |\[)", "", template(), flags=re.MULTILINE)


def keys_of(table: dict[str, Any], prefix: str = "") -> set[str]:
    """Key paths with every cluster's name as "*"."""
    found: set[str] = set()
    for name, value in table.items():
        if not prefix and name == "clusters":
            for cluster in value.values():
                found |= keys_of(cluster, "clusters.*")
        elif name == "networks" or (
            name == "hosts" and isinstance(value, dict)
        ):  # keys are a site's own names
            found |= {f"{prefix}.{name}.*" for _ in value}
        elif isinstance(value, dict):
            found |= keys_of(value, f"{prefix}.{name}".lstrip("."))
        else:
            found.add(f"{prefix}.{name}".lstrip("."))
    return found


def keys_of_schema() -> set[str]:
    """The same, from the JSON Schema that `evac config schema` prints."""
    whole = schema(plugins())

    def walk(node: dict[str, Any], prefix: str) -> set[str]:
        if "$ref" in node:
            return walk(whole["$defs"][node["$ref"].rsplit("/", 1)[-1]], prefix)
        branches = node.get("anyOf", ())
        if any("$ref" in branch or "properties" in branch for branch in branches):
            return set().union(*(walk(branch, prefix) for branch in branches if branch.get("type") != "null"))
        if "properties" not in node:
            extra = node.get("additionalProperties")
            return walk(extra, f"{prefix}.*") if isinstance(extra, dict) else {prefix}
        return set().union(
            *(walk(child, f"{prefix}.{name}".lstrip(".")) for name, child in node["properties"].items())
        )

    return walk(whole, "")


def test_the_template_and_the_schema_know_the_same_keys() -> None:
    """A key that is missing in the one or invented in the other fails here. The socket is the simulated Ceph's."""
    assert keys_of(tomllib.loads(uncommented())) == keys_of_schema() - {"clusters.*.socket"}


def test_the_template_holds_with_every_setting_switched_on_and_with_none(tmp_path: Path) -> None:
    (tmp_path / "all.toml").write_text(uncommented())
    config = load(tmp_path / "all.toml", plugins())
    assert set(config.clusters) == {
        "fra-prod",
        "ams-prod",
        "lab",
        "ceph-prod",
        "ceph-far",
        "kvm",
        "pve",
        "pve-lab",
        "vc1",
    }
    (tmp_path / "none.toml").write_text(template())
    assert load(tmp_path / "none.toml", plugins()).read_only is True


def test_defaults_shown_in_the_template_are_the_real_ones(tmp_path: Path) -> None:
    """Settings whose comment gives no example of a site's own show what holds without them."""
    (tmp_path / "all.toml").write_text(uncommented())
    shown = load(tmp_path / "all.toml", plugins())
    real = load(tmp_path / "missing.toml", plugins())
    assert (shown.engine, shown.limits, shown.console) == (real.engine, real.limits, real.console)
    assert msgspec.structs.replace(shown.probe, rules=()) == real.probe
    assert [rule.method for rule in shown.probe.rules] == ["tcp", "icmp", "command"]
    rules = shown.clusters["fra-prod"].rules
    fresh = msgspec.structs.replace(shown.clusters["lab"].rules)
    for name in ("stale_after", "poll_interval", "connect_timeout", "read_timeout"):
        assert getattr(rules, name) == getattr(fresh, name)


def test_template_prints_the_file_at_the_root() -> None:
    assert evac("config", "template").stdout == (ROOT / "config.example.toml").read_text()


TEN_MISTAKES = f"""\
read_onyl = true
read_only = "yes"
[engine]
idle_exit = -5
[limits]
total = "eight"
per_sorce = 2
[console]
mouse = 1
[clusters.fra]
kind = "openstak"
[clusters.ams]
kind = "openstack"
cloud = "ams"
read_timeout = 0
regoin = "ams1"
[clusters.lab]
kind = "openstack"
auth_url = "https://keystone.example.org:5000/v3"
username = "evac"
password = "{MAGIC_WORD}"
project_name = "admin"
"""


def test_ten_mistakes_are_told_at_once_with_line_and_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(TEN_MISTAKES)
    result = evac("config", "check", file)
    assert result.exit_code == Code.FAILED
    assert len(result.stdout.splitlines()) == 10
    for line, near in ((1, "read_only"), (7, "per_source"), (11, "openstack"), (16, "region")):
        assert re.search(rf":{line}: .*did you mean \"{near}\"", result.stdout), near
    assert "10 mistakes" in result.stderr
    machine = json.loads(evac("config", "check", file, "--json").stdout)
    assert len(machine["errors"]) == 10
    assert machine["ok"] is False
    assert {"file", "line", "key", "message", "allowed", "nearest"} <= set(machine["errors"][0])


@pytest.mark.parametrize(
    "command", [("config", "check"), ("config", "show"), ("doctor",), ("hosts",), ("import",)]
)
def test_a_password_written_into_the_config_is_never_repeated(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Not in the complaint about it either."""
    file = tmp_path / "config.toml"
    file.write_text(TEN_MISTAKES)
    for extra in ((), ("--json",)) if command != ("import",) else ((),):
        result = evac("--config", file, "--state", tmp_path / "state", *command, *extra)
        assert result.exit_code != 0
        assert MAGIC_WORD not in result.output


def test_show_tells_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('read_only = true\n[clusters.fra]\nkind = "openstack"\ncloud = "fra"\n')
    text = evac("--config", file, "config", "show", "--origin").stdout
    assert re.search(r'^clusters\.fra\.cloud = "fra" +# config.toml:4$', text, re.MULTILINE)
    assert re.search(r"^limits\.total = 8 +# default$", text, re.MULTILINE)
    body = json.loads(evac("--config", file, "config", "show", "--origin", "--json").stdout)
    assert body["settings"]["read_only"] is True
    assert body["origin"]["read_only"] == "config.toml:1"


def test_what_show_prints_is_toml_again(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(uncommented())
    shown = tomllib.loads(evac("--config", file, "config", "show").stdout)
    assert shown["clusters"]["lab"]["password"] == "command:pass show evac/lab"
    assert shown["limits"]["total"] == 8


def test_locate_names_every_place(tmp_path: Path) -> None:
    body = json.loads(
        evac("--config", tmp_path / "c.toml", "--state", tmp_path, "config", "locate", "--json").stdout
    )
    assert body["config"] == {"path": str(tmp_path / "c.toml"), "exists": False}
    assert set(body) == {"config", "state", "socket", "journal", "log", "lock"}


FOUND = (
    Found(
        name="fra", options={"kind": "openstack", "cloud": "fra", "region": "fra1"}, source="/x/clouds.yaml"
    ),
    Found(name="ams prod", options={"kind": "openstack", "cloud": "ams prod"}, source="/x/clouds.yaml"),
)


def test_an_import_is_private_and_read_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    import_found(file, FOUND)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config = load(file, plugins())
    assert config.read_only is True
    assert list(config.clusters) == ["fra", "ams-prod"]
    assert config.clusters["ams-prod"].options.cloud == "ams prod"


def test_an_import_keeps_the_old_file_and_every_line_of_it(tmp_path: Path) -> None:
    """What is added is read-only even where the file as a whole lets evac act."""
    file = tmp_path / "config.toml"
    old = '# mine\n[limits]\ntotal = 3\n[clusters.fra]\nkind = "openstack"\ncloud = "other"'
    file.write_text(old)
    import_found(file, FOUND)
    (backup,) = tmp_path.glob("config.toml.*.bak")
    assert backup.read_text() == old
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert file.read_text().startswith(old)
    config = load(file, plugins())
    assert config.clusters["fra"].options.cloud == "other", "what is there already is not touched"
    assert config.clusters["ams-prod"].rules.read_only is True
    assert config.read_only is False


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    import_found(file, FOUND)
    before = file.read_bytes()
    with pytest.raises(Stop) as stop:
        import_found(file, FOUND)
    assert stop.value.exit_code == Code.DONE
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("*.bak"))


def test_an_import_into_a_broken_config_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[limits\n")
    with pytest.raises(Stop):
        import_found(file, FOUND)
    assert file.read_text() == "[limits\n"


def test_two_clouds_with_like_names_are_both_taken(tmp_path: Path) -> None:
    twins = [
        Found(name=name, options={"kind": "openstack", "cloud": name}, source="s") for name in ("a b", "a/b")
    ]
    _, names = imported(tmp_path / "none.toml", twins)
    assert names == ["a-b", "a-b-2"]


@given(st.text())
def test_any_name_becomes_one_a_cluster_can_have(name: str) -> None:
    from evac.config_check import NAME

    assert NAME.fullmatch(cluster_name(name))


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(
        "clouds: {fra: {auth: {auth_url: 'http://127.0.0.1:1/v3', username: u, password: "
        + MAGIC_WORD
        + ", project_name: p}, region_name: r1}}\n"
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    file = tmp_path / "config.toml"
    result = evac("--config", file, "import", "--dry-run")
    assert result.exit_code == 0
    assert "[clusters.fra]" in result.stdout
    assert "read_only = true" in result.stdout
    assert MAGIC_WORD not in result.output
    assert not file.exists()
    assert evac("--config", file, "import").exit_code == 0
    assert list(load(file, plugins()).clusters) == ["fra"]


SCALARS = (
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(st.text(), VALUES)
def test_toml_text_is_read_back_as_it_was(key: str, value: object) -> None:
    assert tomllib.loads(f"{toml_key(key)} = {toml_value(value)}\n") == {key: value}


def test_a_private_file_is_never_readable_by_others_even_for_a_moment(tmp_path: Path) -> None:
    """An old file with mode 0644 is replaced, not written into."""
    file = tmp_path / "c"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
