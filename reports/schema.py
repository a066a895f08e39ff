"""JSON Schemas of the documents that others read: ``python -m weightgate.reports.schema FOLDER`` writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from weightgate.lineage.changeset import Changeset
from weightgate.lineage.replay import Replay
from weightgate.lineage.trust.approval import Approval
from weightgate.lineage.trust.document import RootDocument
from weightgate.policies.policy import Policy
from weightgate.reports.record import AuditRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BASE = "https://weightgate.dev/schemas"
_DOCUMENTS: dict[str, type[BaseModel]] = {
    "approval": Approval,
    "audit-record": AuditRecord,
    "changeset": Changeset,
    "replay": Replay,
    "policy": Policy,
    "trust-root": RootDocument,
}


def schemas() -> dict[str, str]:
    """Each schema as JSON text, by file name. They describe documents as they are written: every field is there.

    The policy's describes what people write: fields with defaults may be left out.
    """
    return {f"{name}.schema.json": _schema(name, model) for name, model in _DOCUMENTS.items()}


def write_schemas(folder: Path) -> None:
    """Write all schemas to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


def _schema(name: str, model: type[BaseModel]) -> str:
    schema = model.model_json_schema(mode="validation" if model is Policy else "serialization")
    head = {"$schema": DIALECT, "$id": f"{BASE}/{name}.schema.json"}
    return json.dumps(head | schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
