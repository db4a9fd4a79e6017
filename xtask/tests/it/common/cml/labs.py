"""Does with CML's own client what `cargo xtask builder` does, and looks at the result.

Runs behind session.py. Arguments: what to do, a topology, a title.
"""

import pathlib
import sys

from virl2_client.exceptions import LabNotFound

work, topology, title = sys.argv[1:]


def converged(lab):
    lab.wait_until_lab_converged(max_iterations=50, wait_time=0)


def found():
    labs = client.find_labs_by_title(title)
    assert len(labs) == 1, labs
    return labs[0]


def check(lab):
    assert lab.title == title and "cml-nodes.builder user=" in lab.description and "cargo xtask" in lab.notes
    outside, builder = lab.get_node_by_label("outside"), lab.get_node_by_label("builder")
    assert outside.node_definition == "external_connector" and outside.configuration == "NAT"
    assert builder.node_definition == "ubuntu" and builder.image_definition.startswith("ubuntu-24-04")
    assert builder.tags() == ["cml-nodes.builder"]
    assert (builder.cpus, builder.ram, builder.boot_disk_size) == (4, 4096, 32)
    names = [file["name"] for file in builder.configuration_files]
    assert names == ["user-data", "network-config"], names
    assert builder.configuration.startswith("#cloud-config\n")
    assert len(lab.links()) == 1 and builder.get_link_to(outside) is not None
    return builder


def create():
    lab = client.import_lab(pathlib.Path(topology).read_text())
    lab.sync()
    check(lab)


def run():
    lab = found()
    builder = check(lab)
    assert lab.state() == "DEFINED_ON_CORE" and lab.details()["lab_title"] == title
    lab.start(wait=False)
    converged(lab)
    assert lab.is_active() and builder.is_booted()
    assert "cml-nodes-builder: " in builder.console_logs(0)
    assert builder.console_logs(0, 1).count("\n") <= 1
    lab.sync_layer3_addresses()
    addresses = builder.interfaces()[0].discovered_ipv4
    assert addresses == ["192.168.255.17"], addresses
    builder.sync_layer3_addresses()
    assert builder.interfaces()[0].discovered_ipv4 == addresses


def stop():
    lab = found()
    refused(403, lab.wipe)
    lab.stop(wait=False)
    converged(lab)
    assert lab.state() == "STOPPED"
    refused(403, client._remove_unjoined_lab, lab.id)


def delete():
    lab = found()
    lab.wipe(wait=False)
    converged(lab)
    assert lab.state() == "DEFINED_ON_CORE"
    lab.remove()
    assert client.find_labs_by_title(title) == [] and client.get_lab_list() == []
    try:
        client.join_existing_lab(lab.id)
    except (LabNotFound, APIError):
        pass
    else:
        raise AssertionError("the lab should be gone")


def running():
    lab = found()
    assert lab.is_active() and check(lab).is_booted()


def gone():
    assert client.find_labs_by_title(title) == [] and client.get_lab_list() == []


def wrong():
    changes = [
        ('version: "0.3.0"', "version: 1"),
        ("cpus: 4", "cpus: 0"),
        ("links:", "lynx:"),
        ("i2: i0}", "i2: i7}"),
    ]
    for change in changes:
        text = pathlib.Path(topology).read_text()
        assert change[0] in text, change
        refused(400, client.import_lab, text.replace(*change))
    gone()
    licence = client.licensing.status()
    assert licence["registration"]["status"] == "COMPLETED"


globals()[work]()
assert client.logout() is True
