"""The lab: `python -m tests.real.openstack up|down|status|destroy|install|compute-start H|compute-stop H|compute-kill H`.

`up` is all one needs: it installs what is missing, creates the databases on the first run, starts what does not run
and returns when four computes are up. A lab that cannot start is an error with the end of the log that tells why.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time

from tests.real.daemons import LabError, run, say, tail
from tests.real.openstack import configs, install
from tests.real.openstack.configs import environment, rabbit_environment
from tests.real.openstack.layout import (
    CLOUDS,
    HOSTS,
    LAB,
    LOG,
    PASSWORD,
    PORTS,
    READY,
    SERVICES,
    SVC,
    URL,
    database,
)
from tests.real.openstack.processes import (
    end,
    recorded,
    refuse_taken_ports,
    signal_only,
    spawn,
    status,
    wait_http,
    wait_port,
)

BIN = SVC / "bin"
_DATABASES = ("keystone", "placement", "glance", "nova_api", "nova_cell0", "nova_cell1", "masakari")
_LAST = ("rabbitmq", "epmd", "mariadbd")
"""Ended after everything that talks to them."""
_OWNERS = {"mysql": "mariadbd", "amqp": "rabbitmq", "edist": "rabbitmq"}
"""Port → process, where their names differ."""


def up() -> None:
    """Install, initialise, start: whatever of it is missing."""
    began = time.monotonic()
    install.install()
    refuse_taken_ports({port: _OWNERS.get(port, port) for port in PORTS})
    if not READY.exists():
        down()
        shutil.rmtree(LAB, ignore_errors=True)
        _initialise()
        say(f"initialised after {time.monotonic() - began:.0f} s")
    _start()
    say(f"the lab is up after {time.monotonic() - began:.0f} s: OS_CLIENT_CONFIG_FILE={CLOUDS} OS_CLOUD=lab")


def down() -> None:
    """End every process of the lab; its state stays."""
    names = recorded()
    first = [name for name in names if name not in _LAST]
    for name in first:  # all at once, then collect
        signal_only(name)
    for name in first + [name for name in _LAST if name in names]:
        end(name)


def destroy() -> None:
    """End it and forget its state; what was installed stays."""
    down()
    shutil.rmtree(LAB, ignore_errors=True)


def compute_start(host: str) -> None:
    """Start one hypervisor's agent."""
    command = [BIN / "python", SERVICES / "labcompute.py", "--config-file", LAB / "nova/nova.conf"]
    command += [
        "--config-file",
        LAB / f"compute/{host}/compute.conf",
        "--log-file",
        LOG / f"compute-{host}.log",
    ]
    spawn(f"compute-{host}", command, environment())


def compute_stop(host: str) -> None:
    """An orderly stop."""
    end(f"compute-{host}")


def compute_kill(host: str) -> None:
    """SIGKILL: the host crashes."""
    end(f"compute-{host}", signal.SIGKILL)


def _start_bus() -> None:
    spawn("epmd", ["epmd", "-address", "127.0.0.1", "-port", PORTS["epmd"]], rabbit_environment())
    spawn("rabbitmq", [install.RABBIT], rabbit_environment())


def _start_database() -> None:
    spawn("mariadbd", [install.MARIADB, f"--defaults-file={LAB}/my.cnf"], environment())
    wait_port("mysql", "mariadbd")


def _serve(name: str, module: str, threads: int) -> None:
    spawn(
        name, [BIN / "python", SERVICES / "wsgiserve.py", name, module, PORTS[name], threads], environment()
    )


def _initialise() -> None:
    configs.write_all()
    _start_bus()
    defaults = f"--defaults-file={LAB}/my.cnf"
    run(
        "mariadb-install-db",
        defaults,
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        env=environment(),
    )
    _start_database()
    sql = "".join(f"CREATE DATABASE {name} CHARACTER SET utf8mb4;" for name in _DATABASES)
    run(
        "mariadb",
        "--no-defaults",
        "-h127.0.0.1",
        f"-P{PORTS['mysql']}",
        "-uroot",
        "-e",
        sql,
        env=environment(),
    )
    _initialise_keystone()
    _initialise_others()
    wait_http("keystone", "/v3")
    run(BIN / "python", SERVICES / "bootstrap.py", CLOUDS, json.dumps(URL), env=environment())
    READY.touch()


def _initialise_keystone() -> None:
    env = environment()
    manage = (BIN / "keystone-manage", "--config-file", LAB / "keystone/keystone.conf")
    run(*manage, "db_sync", env=env)
    owner = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    group = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()
    for step in ("fernet_setup", "credential_setup"):
        run(*manage, step, "--keystone-user", owner, "--keystone-group", group, env=env)
    words = ["--bootstrap-password", PASSWORD, "--bootstrap-region-id", "RegionOne"]
    for interface in ("admin", "internal", "public"):
        words += [f"--bootstrap-{interface}-url", URL["keystone"] + "/v3"]
    run(*manage, "bootstrap", *words, env=env)
    _serve("keystone", "keystone.wsgi.api", 8)


def _initialise_others() -> None:
    env = environment()
    run(BIN / "placement-manage", "--config-file", LAB / "placement/placement.conf", "db", "sync", env=env)
    glance = 'import sys; sys.argv[0] = "glance-manage"; from glance.cmd.manage import main; main()'
    run(BIN / "python", "-c", glance, "--config-file", LAB / "glance/glance-api.conf", "db_sync", env=env)
    run(BIN / "masakari-manage", "--config-file", LAB / "masakari/masakari.conf", "db", "sync", env=env)
    nova = (BIN / "nova-manage", "--config-file", LAB / "nova/nova.conf")
    run(*nova, "api_db", "sync", env=env)
    run(*nova, "cell_v2", "map_cell0", "--database_connection", database("nova_cell0"), env=env)
    run(*nova, "db", "sync", env=env)
    bus = f"rabbit://lab:{PASSWORD}@127.0.0.1:{PORTS['amqp']}/"
    cell = ("--name", "cell1", "--database_connection", database("nova_cell1"), "--transport-url", bus)
    run(*nova, "cell_v2", "create_cell", *cell, env=env)


def _start() -> None:
    _start_bus()
    _start_database()
    _serve("keystone", "keystone.wsgi.api", 8)
    _serve("placement", "placement.wsgi.api", 8)
    _serve("glance", "glance.wsgi.api", 4)
    spawn("neutron", [BIN / "python", SERVICES / "neutron_stub.py", PORTS["neutron"]], environment())
    wait_port("amqp", "rabbitmq")
    spawn("masakari", [BIN / "masakari-api", "--config-file", LAB / "masakari/masakari.conf"], environment())
    for name in ("conductor", "scheduler"):
        words = ["--config-file", LAB / "nova/nova.conf", "--log-file", LOG / f"nova-{name}.log"]
        spawn(f"nova-{name}", [BIN / f"nova-{name}", *words], environment())
    _serve("nova", "nova.wsgi.osapi_compute", 16)
    wait_http("keystone", "/v3")
    wait_http("placement")
    _wait_for_conductor()
    for host in HOSTS:
        compute_start(host)
    wait_http("nova")
    wait_http("glance")
    wait_http("masakari")
    run(BIN / "python", SERVICES / "waitup.py", CLOUDS, len(HOSTS), env=environment())


def _wait_for_conductor() -> None:
    """A compute asks the conductor once at its start, and sleeps 10 s if nobody listens yet."""
    try:
        run(BIN / "python", SERVICES / "waitrpc.py", PORTS["amqp"], PASSWORD, "conductor", env=environment())
    except LabError as error:
        raise LabError(f"{error}\n--- nova-conductor.log\n{tail(LOG / 'nova-conductor.log')}") from error


_COMMANDS = {"up": up, "down": down, "destroy": destroy, "status": status, "install": install.install}
_HOST_COMMANDS = {"compute-start": compute_start, "compute-stop": compute_stop, "compute-kill": compute_kill}


def main(words: list[str]) -> int:
    """Exit code 0, 1 when the lab cannot, 2 for a word it does not know."""
    match words:
        case [command] if command in _COMMANDS:
            job = _COMMANDS[command]
        case [command, host] if command in _HOST_COMMANDS and host in HOSTS:
            job = lambda: _HOST_COMMANDS[command](host)  # noqa: E731 - one branch of three
        case _:
            say(__doc__ or "")
            return 2
    try:
        job()
    except LabError as error:
        say(f"the lab cannot go on: {error}")
        return 1
    return 0
