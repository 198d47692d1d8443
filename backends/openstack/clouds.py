"""clouds.yaml: where it is, what it offers, and the SDK's configuration for one entry of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from backends.openstack.options import Options
from evac.backend import Found, Settings
from evac.errors import AuthFailed
from evac.model import Problem

PLACES = ("clouds.yaml", "clouds.yml", "clouds.json")


def standard_places() -> Iterator[Path]:
    """Where the OpenStack command line looks, in its order: the environment, here, the user's config, the system's."""
    named = os.environ.get("OS_CLIENT_CONFIG_FILE")
    if named:
        yield Path(named).expanduser()
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for folder in (Path.cwd(), home / "openstack", Path("/etc/openstack")):
        for name in PLACES:
            yield folder / name


def locate(options: Options, config_dir: Path) -> Path | None:
    """The clouds.yaml these options mean; None when there is none."""
    if options.clouds_file:
        return config_dir / Path(options.clouds_file).expanduser()
    return next((place for place in standard_places() if place.is_file()), None)


def discover() -> Sequence[Found]:
    """One per cloud and region of the first clouds.yaml found. Files only; raises nothing."""
    place = next((place for place in standard_places() if place.is_file()), None)
    if place is None:
        return ()
    try:
        content = yaml.safe_load(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return ()
    clouds = content.get("clouds") if isinstance(content, dict) else None
    if not isinstance(clouds, dict):
        return ()
    source = str(place.resolve())
    return tuple(
        one
        for name, entry in clouds.items()
        if isinstance(entry, dict)
        for one in _found(str(name), entry, source)
    )


def _found(name: str, entry: Mapping[str, Any], source: str) -> Iterator[Found]:
    regions = [
        str(region.get("name")) if isinstance(region, dict) else str(region)
        for region in entry.get("regions") or ()
    ]
    safe = name.replace("/", "-")
    if len(regions) < 2:
        yield Found(name=safe, options={"cloud": name, "clouds_file": source}, source=source)
        return
    for region in regions:
        options = {"cloud": name, "clouds_file": source, "region": region}
        yield Found(name=f"{safe}-{region.replace('/', '-')}", options=options, source=source)


def region_config(settings: Settings, session_constructor: Callable[..., Any]) -> Any:
    """Openstacksdk's CloudRegion for these settings. Reads files; asks nobody.

    The environment's OS_* variables are ignored: a cluster must not change its meaning with the shell it was
    started from.

    Raises:
        AuthFailed: no such file or entry, or the entry cannot work.
    """
    from openstack.config import OpenStackConfig  # noqa: PLC0415 - imported when a cluster is used, not before

    options: Options = settings.options
    place = locate(options, settings.config_dir) if options.cloud else None
    if options.cloud:
        _check(settings.name, options, place)
    loader = OpenStackConfig(
        config_files=[str(place)] if place else [],
        secure_files=[str(place.with_name("secure.yaml"))] if place else [],
        load_envvars=False,
        app_name="evac",
        session_constructor=session_constructor,  # type: ignore[arg-type]  # any callable that makes a Session will do
    )
    try:
        return loader.get_one(cloud=options.cloud or None, **_overrides(settings))
    except Exception as error:  # the SDK raises its own, keystoneauth's and plain KeyErrors for a bad entry
        raise AuthFailed(
            Problem(
                happened=f"{settings.name}: the login in {place or 'the config'} cannot be used: {_why(error)}",
                unaffected="Other clusters are not affected.",
                next_step=f"Try it with: openstack --os-cloud {options.cloud} token issue"
                if options.cloud
                else f"Correct it in the config or where the engine is started, then: evac doctor {settings.name}",
            )
        ) from error


def _check(cluster: str, options: Options, place: Path | None) -> None:
    """Say in words what the SDK would say in a KeyError."""
    calm = "Other clusters are not affected."
    if place is None:
        places = ", ".join(str(place) for place in standard_places() if place.name == "clouds.yaml")
        raise AuthFailed(
            Problem(
                happened=f"{cluster}: there is no clouds.yaml (looked in {places}).",
                unaffected=calm,
                next_step="Set clouds_file, or OS_CLIENT_CONFIG_FILE before evac starts.",
            )
        )
    content = _content(cluster, place)
    secure = place.with_name("secure.yaml")
    if secure.is_file():
        _content(cluster, secure)  # the SDK would pass over a broken one, and log the line with the password
    known = content.get("clouds") if isinstance(content, dict) else None
    names = sorted(str(name) for name in known) if isinstance(known, dict) else []
    if options.cloud not in names:
        raise AuthFailed(
            Problem(
                happened=f'{cluster}: {place} has no cloud "{options.cloud}"; it has: {", ".join(names) or "none"}.',
                unaffected=calm,
                next_step="Correct cloud in the config, or the entry's name in clouds.yaml.",
            )
        )


def _content(cluster: str, place: Path) -> object:
    try:
        return yaml.safe_load(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise AuthFailed(
            Problem(
                happened=f"{cluster}: {place} cannot be read: {_why(error)}",
                unaffected="Other clusters are not affected.",
                next_step="Correct the file.",
            )
        ) from None


def _why(error: Exception) -> str:
    """In words. A YAML parser's own quote the line it stumbled over, and that may be the password's."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        return f"this is not YAML{where}"
    if isinstance(error, yaml.YAMLError | UnicodeError):
        return "this is not YAML in UTF-8"
    return " ".join(str(error).split())


def _overrides(settings: Settings) -> dict[str, Any]:
    """Options that come from evac's config, in the SDK's words. TLS is always checked, whatever clouds.yaml says."""
    options: Options = settings.options
    given: dict[str, Any] = {"verify": True, "insecure": False}
    if options.region:
        given["region_name"] = options.region
    if options.interface:
        given["interface"] = options.interface
    if options.cacert:
        given["cacert"] = str(settings.config_dir / Path(options.cacert).expanduser())
    if options.cloud:
        return given
    given["auth"] = _auth(settings)
    if options.application_credential_id:
        given["auth_type"] = "v3applicationcredential"
    return given


def _auth(settings: Settings) -> dict[str, str]:
    options: Options = settings.options
    auth = {"auth_url": options.auth_url}
    if options.application_credential_id:
        auth["application_credential_id"] = options.application_credential_id
        auth["application_credential_secret"] = _secret(settings, options.application_credential_secret)
        return auth
    auth |= {
        "username": options.username,
        "password": _secret(settings, options.password),
        "project_name": options.project_name,
        "user_domain_name": options.user_domain_name or "Default",
        "project_domain_name": options.project_domain_name or options.user_domain_name or "Default",
    }
    return auth


def _secret(settings: Settings, reference: str) -> str:
    return settings.secret(reference) if settings.secret else reference
