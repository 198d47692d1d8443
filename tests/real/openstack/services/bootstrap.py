"""bootstrap.py CLOUDS.YAML URLS: the catalog, and a second account without admin rights. Once, after Keystone is up."""

import json
import os
import sys
from typing import Any

os.environ["OS_CLIENT_CONFIG_FILE"] = sys.argv[1]
url = json.loads(sys.argv[2])

import openstack  # noqa: E402 - reads the environment at import

cloud = openstack.connect(cloud="lab")
identity: Any = cloud.identity  # typed as v2 or v3; Keystone serves v3 only
for name, kind, address in (
    ("nova", "compute", url["nova"] + "/v2.1"),
    ("placement", "placement", url["placement"]),
    ("glance", "image", url["glance"]),
    ("neutron", "network", url["neutron"]),
    ("masakari", "instance-ha", url["masakari"] + "/v1"),
):
    service = identity.create_service(name=name, type=kind)
    for interface in ("public", "internal", "admin"):
        identity.create_endpoint(
            service_id=service.id, interface=interface, url=address, region_id="RegionOne"
        )

with open(sys.argv[1]) as file:  # noqa: PTH123 - a script of a dozen lines
    password = json.load(file)["clouds"]["demo"]["auth"]["password"]
project = identity.create_project(name="demo", domain_id="default")
user = identity.create_user(
    name="demo", password=password, domain_id="default", default_project_id=project.id
)
for role in ("member", "reader"):
    identity.assign_project_role_to_user(project, user, identity.find_role(role))
admin = identity.find_user("admin")
identity.assign_project_role_to_user(project, admin, identity.find_role("admin"))
