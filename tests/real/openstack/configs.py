"""The configuration files of every service, and the environment they start in."""

from __future__ import annotations

import getpass
import json
import os
import shutil
from pathlib import Path

from tests.real.openstack.layout import (
    CLOUDS,
    CONTROL,
    HOSTS,
    LAB,
    LOG,
    PASSWORD,
    PORTS,
    RUN,
    SVC,
    URL,
    database,
)


def environment(**extra: str) -> dict[str, str]:
    """Ours without anything that would lead a service elsewhere, plus where its configuration lies."""
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OS_", "PYTHON", "RABBITMQ_"))
        and key.lower() not in ("http_proxy", "https_proxy", "all_proxy")
    }
    env.update(
        OS_KEYSTONE_CONFIG_FILES=f"{LAB}/keystone/keystone.conf",
        OS_PLACEMENT_CONFIG_DIR=f"{LAB}/placement",
        OS_GLANCE_CONFIG_DIR=f"{LAB}/glance",
        OS_NOVA_CONFIG_DIR=f"{LAB}/nova",  # must hold api-paste.ini beside nova.conf
        EVAC_LAB_STATE=str(LAB),
        NO_PROXY="127.0.0.1,localhost",
        no_proxy="127.0.0.1,localhost",
        HOME=str(LAB / "rabbit"),  # Erlang keeps its cookie there
    )
    env.update(extra)
    return env


def rabbit_environment() -> dict[str, str]:
    """RabbitMQ reads everything from here; nothing of /etc/rabbitmq."""
    base = LAB / "rabbit"
    return environment(
        RABBITMQ_NODENAME="evaclab@localhost",
        RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(PORTS["amqp"]),
        RABBITMQ_DIST_PORT=str(PORTS["edist"]),
        RABBITMQ_BASE=str(base),
        RABBITMQ_MNESIA_BASE=f"{base}/mnesia",
        RABBITMQ_LOG_BASE=str(LOG),
        RABBITMQ_CONFIG_FILE=f"{base}/rabbitmq.conf",
        RABBITMQ_CONF_ENV_FILE="/dev/null",
        RABBITMQ_ENABLED_PLUGINS_FILE=f"{base}/enabled_plugins",
        RABBITMQ_PID_FILE=f"{base}/own.pid",
        ERL_EPMD_PORT=str(PORTS["epmd"]),
        ERL_EPMD_ADDRESS="127.0.0.1",
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}",
    )


def write_all() -> None:
    """Every file, for a lab that does not exist yet."""
    folders = (RUN, LOG, CONTROL, LAB / "db", LAB / "rabbit", LAB / "nova/state")
    for folder in (*folders, *(LAB / "glance" / name for name in ("images", "staging", "tasks"))):
        folder.mkdir(parents=True, exist_ok=True)
    _write(LAB / "my.cnf", _mariadb())
    _write(LAB / "rabbit/rabbitmq.conf", _rabbit())
    _write(LAB / "rabbit/enabled_plugins", "[].\n")
    _write(LAB / "keystone/keystone.conf", _keystone())
    _write(LAB / "placement/placement.conf", _placement())
    _write(LAB / "glance/glance-api.conf", _glance())
    _write(LAB / "masakari/masakari.conf", _masakari())
    _write(LAB / "nova/nova.conf", _nova())
    shutil.copy(SVC / "etc/nova/api-paste.ini", LAB / "nova/api-paste.ini")
    for host in HOSTS:
        _write(LAB / "compute" / host / "compute.conf", _compute(host))
    _write(CLOUDS, json.dumps({"clouds": {"lab": _cloud("admin"), "demo": _cloud("demo")}}, indent=1))
    CLOUDS.chmod(0o600)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _cloud(who: str) -> dict[str, object]:
    auth = {
        "auth_url": URL["keystone"] + "/v3",
        "username": who,
        "password": PASSWORD,
        "project_name": who,
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
    return {"auth": auth, "region_name": "RegionOne", "identity_api_version": 3}


def _account(section: str) -> str:
    """Every service logs in as the admin: fewer steps, and good enough on loopback."""
    return f"""[{section}]
auth_type = password
auth_url = {URL["keystone"]}/v3
username = admin
password = {PASSWORD}
project_name = admin
user_domain_id = default
project_domain_id = default
region_name = RegionOne
"""


def _token_check() -> str:
    return _account("keystone_authtoken") + f"www_authenticate_uri = {URL['keystone']}\n"


def _mariadb() -> str:
    return f"""[mariadbd]
datadir={LAB}/db/mysql
socket=own.sock
pid-file=own.pid
bind-address=127.0.0.1
port={PORTS["mysql"]}
user={getpass.getuser()}
skip-name-resolve
skip-log-bin
innodb_flush_log_at_trx_commit=0
innodb_doublewrite=0
innodb_buffer_pool_size=128M
innodb_log_file_size=32M
performance_schema=OFF
max_connections=500
character-set-server=utf8mb4
"""


def _rabbit() -> str:
    return f"""listeners.tcp.1 = 127.0.0.1:{PORTS["amqp"]}
default_user = lab
default_pass = {PASSWORD}
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
loopback_users = none
log.console = false
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
"""


def _keystone() -> str:
    """The cache may live in memory because one process serves; without it a token's first check takes 0.8 s."""
    return f"""[DEFAULT]
log_file = {LOG}/keystone-api.log
[database]
connection = {database("keystone")}
[token]
provider = fernet
expiration = 86400
[fernet_tokens]
key_repository = {LAB}/keystone/fernet
[credential]
key_repository = {LAB}/keystone/credential
[fernet_receipts]
key_repository = {LAB}/keystone/fernet
[cache]
enabled = true
backend = dogpile.cache.memory
"""


def _placement() -> str:
    return f"""[DEFAULT]
log_file = {LOG}/placement-api.log
[placement_database]
connection = {database("placement")}
[api]
auth_strategy = keystone
{_token_check()}"""


def _glance() -> str:
    return f"""[DEFAULT]
log_file = {LOG}/glance-api.log
enabled_backends = fs:file
enabled_import_methods = [glance-direct]
[database]
connection = {database("glance")}
[glance_store]
default_backend = fs
[fs]
filesystem_store_datadir = {LAB}/glance/images
[os_glance_staging_store]
filesystem_store_datadir = {LAB}/glance/staging
[os_glance_tasks_store]
filesystem_store_datadir = {LAB}/glance/tasks
[paste_deploy]
flavor = keystone
config_file = {SVC}/etc/glance/glance-api-paste.ini
{_token_check()}"""


def _masakari() -> str:
    """Its API alone: nobody tells it of failures but the tests, and nobody recovers anything."""
    return f"""[DEFAULT]
log_file = {LOG}/masakari-api.log
masakari_api_listen = 127.0.0.1
masakari_api_listen_port = {PORTS["masakari"]}
masakari_api_workers = 1
transport_url = rabbit://lab:{PASSWORD}@127.0.0.1:{PORTS["amqp"]}/
auth_strategy = keystone
os_privileged_user_name = admin
os_privileged_user_password = {PASSWORD}
os_privileged_user_tenant = admin
os_privileged_user_auth_url = {URL["keystone"]}/v3
os_region_name = RegionOne
nova_catalog_admin_info = compute:nova:publicURL
[wsgi]
api_paste_config = {SVC}/etc/masakari/api-paste.ini
[database]
connection = {database("masakari")}
[taskflow]
connection = {database("masakari")}
{_token_check()}"""


def _nova() -> str:
    """Three settings are there for a reason met in the lab.

    manager_shutdown_timeout and graceful_shutdown_timeout: Nova 34 otherwise waits up to 160 s on SIGTERM for "tasks
    in progress", and an aborted live migration leaves one counted at its destination. quota: 10 servers by default.
    """
    return f"""[DEFAULT]
state_path = {LAB}/nova/state
transport_url = rabbit://lab:{PASSWORD}@127.0.0.1:{PORTS["amqp"]}/
my_ip = 127.0.0.1
host = controller
compute_driver = labfake.LabDriver
max_concurrent_live_migrations = 1
report_interval = 2
service_down_time = 12
rpc_response_timeout = 30
long_rpc_timeout = 120
update_resources_interval = 10
manager_shutdown_timeout = 0
graceful_shutdown_timeout = 10
[api]
auth_strategy = keystone
[api_database]
connection = {database("nova_api")}
[database]
connection = {database("nova_cell1")}
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 5
[quota]
instances = -1
cores = -1
ram = -1
[vnc]
enabled = false
[cache]
enabled = false
[glance]
endpoint_override = {URL["glance"]}
[oslo_concurrency]
lock_path = {LAB}/nova/locks
[oslo_messaging_notifications]
driver = noop
{_account("neutron")}endpoint_override = {URL["neutron"]}
{_account("placement")}{_token_check()}[service_user]
send_service_user_token = false
"""


def _compute(host: str) -> str:
    """A state_path each: its compute_id file is the node's UUID, and two computes must not share one."""
    folder = LAB / "compute" / host
    return f"""[DEFAULT]
host = {host}
state_path = {folder}
[oslo_concurrency]
lock_path = {folder}/locks
"""
