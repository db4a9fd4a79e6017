"""Does with CML's own client what `cargo xtask upload` does.

Runs behind session.py. Arguments: what to do, id, node definition, archive, image definition.
"""

import pathlib
import sys

work, ident, node, archive, image = sys.argv[1:]
# Versions may share a node definition.
node_ident = pathlib.Path(node).stem
node_text, image_text = pathlib.Path(node).read_text(), pathlib.Path(image).read_text()

assert client.is_system_ready(), "not ready"
definitions = client.definitions


def upload():
    assert definitions.upload_node_definition(node_text) == "Success"
    definitions.upload_image_file(archive)
    assert definitions.download_image_file_list() == [pathlib.Path(archive).name]
    assert definitions.upload_image_definition(image_text) == "Success"
    assert definitions.download_image_file_list() == [], "the file is moved out of the drop folder"


def check():
    assert node_ident in [definition["id"] for definition in definitions.node_definitions()]
    assert ident in [definition["id"] for definition in definitions.image_definitions()]
    assert ident in [one["id"] for one in definitions.image_definitions_for_node_definition(node_ident)]
    assert f"id: {node_ident}\n" in definitions.download_node_definition(node_ident)
    assert f"disk_image: {pathlib.Path(archive).name}" in definitions.download_image_definition(ident)
    assert client.get_system_stats()["all"]["disk"]["free"] > 0
    assert client.get_lab_list(show_all=True) == []


def everything():
    refused(404, definitions.download_node_definition, node_ident)
    refused(400, definitions.upload_node_definition, "id: x\nunknown: 1\n")
    refused(404, definitions.upload_node_definition, node_text, True)
    refused(400, definitions.upload_image_definition, image_text)
    upload()
    check()
    refused(400, definitions.upload_node_definition, node_text)
    assert definitions.upload_node_definition(node_text, update=True) == "Success"
    assert definitions.upload_image_definition(image_text, update=True) == "Success"
    assert definitions.set_image_definition_read_only(ident, True)["read_only"] is True
    refused(403, definitions.upload_image_definition, image_text, True)
    refused(403, definitions.remove_image_definition, ident)
    definitions.set_image_definition_read_only(ident, False)
    definitions.set_node_definition_read_only(node_ident, True)
    refused(403, definitions.upload_node_definition, node_text, True)
    definitions.set_node_definition_read_only(node_ident, False)
    refused(400, definitions.remove_node_definition, node_ident)
    definitions.remove_image_definition(ident)
    definitions.remove_node_definition(node_ident)
    definitions.upload_image_file(archive)
    assert definitions.remove_dropfolder_image(pathlib.Path(archive).name) == "Success"
    # A token that has expired is renewed once.
    client.jwtoken = "header.payload.expired"
    definitions.node_definitions()


{"upload": upload, "check": check, "everything": everything}[work]()
assert client.logout() is True
