# Reads a list with the programs of others: SPDX's own, which validates it, and lib4sbom, which others build upon (but
# which does not understand a licence of several).
import json
import sys

from lib4sbom.parser import SBOMParser
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

path = sys.argv[1]
document = parse_file(path)
problems = validate_full_spdx_document(document, "SPDX-2.3")
assert not problems, "\n".join(f"{problem.context.spdx_id}: {problem.validation_message}" for problem in problems)

parser = SBOMParser()
parser.parse_file(path)
packages = [{key: package.get(key) for key in ("name", "version", "checksum")} for package in parser.get_packages()]
licences = {package.name: str(package.license_declared) for package in document.packages}
relations = [one.relationship_type.name for one in document.relationships]
print(json.dumps({"packages": packages, "licences": licences, "relations": relations}))
