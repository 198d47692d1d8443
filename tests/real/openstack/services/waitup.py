"""waitup.py CLOUDS.YAML COUNT: exit 0 once that many computes are up and listed, with an image and flavors made."""

import os
import sys
import time

os.environ["OS_CLIENT_CONFIG_FILE"] = sys.argv[1]
wanted = int(sys.argv[2])

import openstack  # noqa: E402 - reads the environment at import

FLAVORS = (("m1.tiny", 512, 1, 1), ("m1.small", 2048, 1, 20), ("m1.large", 8192, 4, 80))
cloud = openstack.connect(cloud="lab")


def missing() -> str:
    """What is not there yet, or ""."""
    up = [one for one in cloud.compute.services() if one.state == "up"]
    computes = [one.host for one in up if one.binary == "nova-compute"]
    if len(computes) < wanted:
        return f"computes up: {computes}"
    others = {"nova-conductor", "nova-scheduler"} - {one.binary for one in up}
    if others:
        return f"not up: {others}"
    listed = len(list(cloud.compute.hypervisors()))
    return "" if listed >= wanted else f"hypervisors listed: {listed}"


end = time.monotonic() + 180
why = "never asked"
while why and time.monotonic() < end:
    try:
        why = missing()
    except openstack.exceptions.SDKException as error:
        why = repr(error)[:300]
    time.sleep(0.5 if why else 0)
if why:
    sys.exit(f"the computes are not up after 180 s: {why}")

if not cloud.image.find_image("cirros"):
    cloud.image.create_image(
        "cirros", data=b"x" * 1024, container_format="bare", disk_format="raw", visibility="public"
    )
for name, memory, vcpus, disk in FLAVORS:
    if not cloud.compute.find_flavor(name):
        cloud.compute.create_flavor(name=name, ram=memory, vcpus=vcpus, disk=disk)
