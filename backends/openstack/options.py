"""What a [clusters.NAME] table with kind = "openstack" may hold."""

from __future__ import annotations

from urllib.parse import urlsplit

from msgspec import Struct

SECRET_KEYS = ("password", "application_credential_secret")
"""Options that hold a reference to a secret, never the secret itself."""

INTERFACES = ("public", "internal", "admin")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `cloud` (an entry of clouds.yaml) or `auth_url` with credentials; never both."""

    cloud: str = ""
    """Name of the entry in clouds.yaml."""
    clouds_file: str = ""
    """Path of that clouds.yaml; "": the places the OpenStack command line looks in."""
    region: str = ""
    """"": the entry's own, or the only one the catalog has."""
    interface: str = ""
    """public, internal or admin; "": the entry's own, else public."""
    cacert: str = ""
    """Path of a CA bundle for the endpoints' certificates."""
    auth_url: str = ""
    username: str = ""
    password: str = ""
    """A secret reference."""
    project_name: str = ""
    user_domain_name: str = ""
    project_domain_name: str = ""
    application_credential_id: str = ""
    application_credential_secret: str = ""
    """A secret reference."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words; msgspec turns the ValueError into a ValidationError."""
        trouble = _trouble(self)
        if trouble:
            raise ValueError(trouble)


def _trouble(options: Options) -> str:
    if options.interface and options.interface not in INTERFACES:
        return f'interface is "{options.interface}"; it can be {", ".join(INTERFACES)}'
    if options.cloud:
        return _trouble_of_cloud(options)
    if not options.auth_url:
        return 'give either cloud = "NAME" (an entry of clouds.yaml) or auth_url with credentials'
    if options.clouds_file:
        return 'clouds_file is given, but not which entry of it: add cloud = "NAME"'
    return _trouble_of_auth(options)


def _trouble_of_cloud(options: Options) -> str:
    own = ("auth_url", "username", "password", "project_name", "application_credential_id")
    doubled = [key for key in own if getattr(options, key)]
    if doubled:
        return f"cloud takes its credentials from clouds.yaml; remove {', '.join(doubled)}"
    return ""


def _trouble_of_auth(options: Options) -> str:
    parts = urlsplit(options.auth_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return f'auth_url is "{options.auth_url}"; it looks like https://keystone.example.org:5000/v3'
    if options.application_credential_id or options.application_credential_secret:
        if not (options.application_credential_id and options.application_credential_secret):
            return "an application credential needs both application_credential_id and application_credential_secret"
        if options.username or options.password:
            return "give an application credential or a username with a password, not both"
        return ""
    missing = [key for key in ("username", "password", "project_name") if not getattr(options, key)]
    if missing:
        return (
            f"auth_url needs credentials: {', '.join(missing)} is missing (or use an application credential)"
        )
    return ""
