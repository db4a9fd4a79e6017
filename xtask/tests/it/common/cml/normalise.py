"""Reads a node or image definition from stdin as CML's controller does: PyYAML, then pydantic in its lax mode.

Prints it as JSON, with all that it does not say. Only what the tests' definitions use is modelled; another key is
refused. Argument: `node` or `image`.
"""

import json
import sys
from typing import Any

import pydantic
import yaml


def model(name, required, optional):
    fields = {key: (kind, ...) for key, kind in required.items()}
    for key, (kind, default) in optional.items():
        fields[key] = (kind, default)
    return pydantic.create_model(name, __config__={"extra": "forbid"}, **fields)


def may(kind, default=None):
    return kind, default


Native = model("Native", {"libvirt_domain_driver": str, "driver": str}, {
    "ram": may(int), "cpus": may(int), "cpu_limit": may(int), "cpu_model": may(str), "data_volume": may(int),
    "boot_disk_size": may(int), "nic_driver": may(str), "disk_driver": may(str), "efi_boot": may(bool),
    "video": may(Any), "enable_rng": may(bool, True), "enable_tpm": may(bool, False)})
Sim = model("Sim", {"linux_native": Native}, {"parameters": may(dict, {}), "usage_estimations": may(Any)})
General = model("General", {"nature": str}, {"description": may(str), "read_only": may(bool, False)})
Boot = model("Boot", {"timeout": int}, {"completed": may(list[str]), "uses_regex": may(bool)})
File = model("File", {"name": str, "editable": bool}, {"content": may(str | None)})
Provisioning = model("Provisioning", {"files": list[File], "media_type": str, "volume_name": str}, {})
Generator = model("Generator", {"driver": str | None}, {})
Configuration = model("Configuration", {"generator": Generator}, {"provisioning": may(Provisioning)})
Interfaces = model("Interfaces", {"serial_ports": int, "physical": list[str], "has_loopback_zero": bool}, {
    "default_console": may(int), "min_count": may(int), "default_count": may(int), "loopback": may(list[str]),
    "management": may(list[str]), "iol_static_ethernets": may(int)})
Device = model("Device", {"interfaces": Interfaces}, {})
Ui = model("Ui", {"label": str, "label_prefix": str, "icon": str, "visible": bool}, {
    "group": may(str), "description": may(str)})
Pyats = model("Pyats", {"os": str}, {
    "series": may(str), "model": may(str), "use_in_testbed": may(bool, True),
    "config_extract_command": may(str | None), "username": may(str | None), "password": may(str | None)})
Node = model("Node", {
    "id": str, "boot": Boot, "sim": Sim, "general": General, "configuration": Configuration, "device": Device,
    "ui": Ui}, {
    "inherited": may(Any), "pyats": may(Pyats), "schema_version": may(str), "image_definitions": may(list[str], [])})
Image = model("Image", {"id": str, "node_definition_id": str, "label": str}, {
    "disk_image": may(str | None), "disk_image_2": may(str | None), "docker_tag": may(str | None),
    "sha256": may(str | None), "schema_version": may(str, "0.0.1"), "description": may(str, ""),
    "efi_boot": may(bool, False), "read_only": may(bool, False), "configuration": may(Any), "pyats": may(Any),
    "ram": may(int | None), "cpus": may(int | None), "cpu_limit": may(int | None), "data_volume": may(int | None)})

kind = {"node": Node, "image": Image}[sys.argv[1]]
definition = kind.model_validate(yaml.safe_load(sys.stdin.buffer.read()))
json.dump(definition.model_dump(), sys.stdout, sort_keys=True)
