"""How a trust root is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from weightgate.audit.cli import console
from weightgate.lineage.signing.schemes import NAMES
from weightgate.lineage.trust.document import TIME_FORMAT
from weightgate.lineage.trust.folder import missing_signatures

if TYPE_CHECKING:
    from weightgate.lineage.trust.root import TrustRoot


def show_root(root: TrustRoot | None, path: Path, draft: TrustRoot | None = None) -> None:
    """Print a root that was checked, and the draft of the next."""
    missing = missing_signatures(path.parent if path.is_file() else path, draft) if draft else ()
    if console.SETTINGS.json:
        said = {"root": document(root) if root else None, "draft": document(draft) if draft else None}
        console.emit({**said, "missing": list(missing)})
        return
    if root:
        _print(root, f"{path}: version {root.version}")
    if draft:
        needs = "".join(f"\nneeds {entry}" for entry in missing)
        _print(draft, f"draft of version {draft.version}{needs}")


def document(root: TrustRoot) -> dict[str, object]:
    """A root as one JSON object."""
    return {
        "version": root.version,
        "expires": root.expires.strftime(TIME_FORMAT),
        "expired": _expired(root),
        "one_role_per_key": root.extension.one_role_per_key,
        "second_signature": dict(root.extension.second_signature),
        "roles": {
            role.name: {
                "threshold": role.threshold,
                "keys": [{"id": key.key_id, "holder": root.holder(key.key_id), "kind": key.kind} for key in role.keys],
            }
            for role in root.roles.values()
        },
        "revoked": {key_id: {"time": entry.time, "reason": entry.reason} for key_id, entry in root.revoked.items()},
    }


def _print(root: TrustRoot, title: str) -> None:
    from rich.text import Text

    out = console.out()
    late = " (expired)" if _expired(root) else ""
    out.print(
        Text(console.printable(f"{title}\nvalid until {root.expires.strftime(TIME_FORMAT)}{late}")), soft_wrap=True
    )
    for role in root.roles.values():
        typer.echo(f"  {role.name}: {role.threshold} of {len(role.keys)}")
        for key in role.keys:
            holder = console.printable(root.holder(key.key_id))
            typer.echo(f"    {holder:<16} {NAMES[key.kind]:<12} {key.key_id[:19]}…")
    for statement, kind in root.extension.second_signature.items():
        typer.echo(f"  {statement}: second signature {NAMES[kind]}")
    for key_id, entry in root.revoked.items():
        typer.echo(console.printable(f"  revoked {key_id[:19]}… {entry.time}: {entry.reason}"))


def _expired(root: TrustRoot) -> bool:
    return datetime.now(UTC) >= root.expires
