"""The service itself: content, sessions, rights, the search index, and a few managers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from backends.simulation.things import SimHost
from backends.vsphere.simulator_collector import MAIN, VIEWS
from backends.vsphere.simulator_facts import bios_uuid
from backends.vsphere.simulator_hosts import net_config
from backends.vsphere.simulator_places import evc_state
from backends.vsphere.simulator_preflight import CHECKER
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import ROOT, Site
from backends.vsphere.simulator_tasks import MANAGER
from backends.vsphere.simulator_wire import Account, Ask, Handler, Objects, Session, gone, refuse

INSTANCE = Ref("ServiceInstance", "ServiceInstance")
SESSIONS = Ref("SessionManager", "SessionManager")
AUTHORIZATION = Ref("AuthorizationManager", "AuthorizationManager")
SEARCH = Ref("SearchIndex", "SearchIndex")

API_VERSION = "8.0.3.0"
PRIOR = ("8.0.2.0", "8.0.1.0", "8.0.0.1", "7.0.3.0", "7.0.2.0", "7.0.1.0", "7.0.0.0", "6.7", "6.5", "6.0")


OPEN = frozenset({"RetrieveServiceContent", "Login", "CurrentTime"})
"""What anybody may call."""

VERSIONS = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n<namespaces version="1.0">\n <namespace>\n  <name>urn:vim25</name>\n'
    f"  <version>{API_VERSION}</version>\n  <priorVersions>\n"
    + "".join(f"   <version>{one}</version>\n" for one in PRIOR)
    + "  </priorVersions>\n </namespace>\n</namespaces>\n"
)
"""/sdk/vimServiceVersions.xml."""


class Service:
    """ServiceInstance, SessionManager, AuthorizationManager, SearchIndex, EVCManager and HostVirtualNicManager."""

    def __init__(self, objects: Objects, idle: float) -> None:
        self._objects = objects
        self.instance = objects.world.new_uuid()
        self.idle = idle
        self.accounts: dict[str, Account] = {}
        self.sessions: dict[str, Session] = {}
        """By cookie."""
        self.logins = 0
        for ref in (INSTANCE, SESSIONS, AUTHORIZATION, SEARCH):
            objects.kept[ref] = self
        objects.tables["ServiceInstance"] = {
            "content": lambda _site, _one: self.content(),
            "capability.provisioningSupported": lambda _site, _one: True,
            "capability.multiHostSupported": lambda _site, _one: True,
            "serverClock": lambda _site, _one: self.clock(),
        }
        objects.tables["SessionManager"] = {}
        objects.tables["AuthorizationManager"] = {}
        objects.tables["ClusterEVCManager"] = {
            "managedCluster": lambda site, zone: site.cluster_ref(zone),
            "evcState": evc_state,
        }
        objects.tables["HostVirtualNicManager"] = {"info.netConfig": net_config}

    def methods(self) -> Mapping[str, Handler]:
        """What is answered."""
        return {
            "RetrieveServiceContent": lambda _ask: self.content(),
            "CurrentTime": lambda _ask: self.clock(),
            "Login": self._login,
            "Logout": self._logout,
            "SessionIsActive": self._active,
            "TerminateSession": self._terminate,
            "HasPrivilegeOnEntities": self._privileges,
            "HasPrivilegeOnEntity": self._privilege,
            "FindByUuid": self._find,
            "FindByInventoryPath": lambda _ask: None,
            "EvcManager": self._evc,
            "QueryNetConfig": self._net,
        }

    def content(self) -> Data:
        """ServiceContent."""
        return Data(
            "ServiceContent",
            rootFolder=ROOT,
            propertyCollector=MAIN,
            viewManager=VIEWS,
            about=self._about(),
            sessionManager=SESSIONS,
            authorizationManager=AUTHORIZATION,
            taskManager=MANAGER,
            searchIndex=SEARCH,
            vmProvisioningChecker=CHECKER,
        )

    def _about(self) -> Data:
        return Data(
            "AboutInfo",
            name="VMware vCenter Server",
            fullName="VMware vCenter Server 8.0.3 build-24022515",
            vendor="VMware, Inc.",
            version="8.0.3",
            build="24022515",
            localeVersion="INTL",
            localeBuild="000",
            osType="linux-x64",
            productLineId="vpx",
            apiType="VirtualCenter",
            apiVersion=API_VERSION,
            instanceUuid=self.instance,
            licenseProductName="VMware VirtualCenter Server",
            licenseProductVersion="8.0",
        )

    def clock(self) -> datetime:
        """The vCenter's own clock."""
        return datetime.fromtimestamp(self._objects.world.wall(), UTC)

    # --- sessions --------------------------------------------------------------------------------

    def who(self, cookie: str) -> Session | None:
        """The session of a cookie, unless it has expired."""
        found = self.sessions.get(cookie)
        if found is None:
            return None
        if time.monotonic() - found.used > self.idle:
            del self.sessions[cookie]
            return None
        return found

    def _login(self, ask: Ask) -> Data:
        account = self.accounts.get(ask.args["userName"].lower())
        if account is None or account.password != ask.args["password"]:
            raise refuse("InvalidLogin", "Cannot complete login due to an incorrect user name or password.")
        if ask.session is not None:
            raise refuse("InvalidState", "The operation is not allowed in the current state.")
        key = self._objects.world.new_uuid()
        self.logins += 1
        ask.session = Session(key, account, self._objects.world.wall())
        self.sessions[key] = ask.session
        return self._told(ask.session)

    def _told(self, session: Session) -> Data:
        began = datetime.fromtimestamp(session.since, UTC)
        return Data(
            "UserSession",
            key=session.key,
            userName=session.account.name,
            fullName=session.account.name,
            loginTime=began,
            lastActiveTime=self.clock(),
            locale="en",
            messageLocale="en",
            extensionSession=False,
            ipAddress="127.0.0.1",
            callCount=1,
        )

    def current(self, session: Session | None) -> Data | None:
        """sessionManager.currentSession: unset for somebody who is not logged in."""
        return None if session is None else self._told(session)

    def drop(self, session: Session) -> None:
        """It ends, with all that belongs to it."""
        self.sessions.pop(session.key, None)
        session.objects.clear()

    def _logout(self, ask: Ask) -> None:
        self.drop(ask.login)

    def _active(self, ask: Ask) -> bool:
        found = self.who(ask.args["sessionID"])
        return found is not None and found.account.name == ask.args["userName"]

    def _terminate(self, ask: Ask) -> None:
        ask.want(SESSIONS, "Sessions.TerminateSession")
        for key in ask.args["sessionId"]:
            if key in self.sessions:
                self.drop(self.sessions[key])

    # --- rights and searches ---------------------------------------------------------------------

    def _availability(self, ask: Ask, privileges: list[str]) -> list[Data]:
        found = self.who(ask.args["sessionId"])
        if found is None:
            raise refuse("NotAuthenticated", "The session is not authenticated.", object=AUTHORIZATION)
        return [
            Data("PrivilegeAvailability", privId=one, isGranted=found.account.may(one)) for one in privileges
        ]

    def _privileges(self, ask: Ask) -> list[Data]:
        wanted = list(ask.args.get("privId", ()))
        found: list[Data] = []
        for entity in ask.args["entity"]:
            self._objects.find(entity, ask.session)
            found.append(
                Data("EntityPrivilege", entity=entity, privAvailability=self._availability(ask, wanted))
            )
        return found

    def _privilege(self, ask: Ask) -> list[bool]:
        wanted = list(ask.args.get("privId", ()))
        return [bool(one.fields["isGranted"]) for one in self._availability(ask, wanted)]

    def _find(self, ask: Ask) -> Ref | None:
        site: Site = self._objects.site
        wanted = ask.args["uuid"].lower()
        if not ask.args.get("vmSearch"):
            hosts = [host for host in site.world.hosts.values() if host.uuid == wanted]
            return site.host_ref(hosts[0].name) if hosts else None
        if ask.args.get("instanceUuid"):
            return site.vm_ref(wanted) if wanted in site.world.vms else None
        return next((site.vm_ref(vm.id) for vm in site.world.vms.values() if bios_uuid(vm) == wanted), None)

    def _evc(self, ask: Ask) -> Ref:
        zone = self._objects.site.zone(ask.this)
        if not zone:
            raise gone(ask.this)
        ref = Ref("ClusterEVCManager", f"EvcManager-{ask.this.id}")
        self._objects.kept[ref] = zone
        return ref

    def _net(self, ask: Ask) -> Any:
        host = self._objects.find(ask.this, ask.session)
        assert isinstance(host, SimHost), "only a host's manager has this method"
        found = net_config(self._objects.site, host)
        return next((one for one in found if one.fields["nicType"] == ask.args["nicType"]), None)


def kept_of_hosts(objects: Objects) -> None:
    """Each host has a manager of its virtual network cards."""
    for host in objects.world.hosts.values():
        number = objects.site.host_ref(host.name).id[5:]
        objects.kept[Ref("HostVirtualNicManager", f"virtualNicManager-{number}")] = host
