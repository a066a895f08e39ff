"""weightgate trust: who may sign and who has to approve, in one file that its keepers sign in turn."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from weightgate.audit.cli import console

if TYPE_CHECKING:
    from weightgate.lineage.trust.document import Statement
    from weightgate.lineage.trust.root import TrustRoot

DEFAULT = Path(".weightgate/trust")
Dir = Annotated[Path, typer.Option("--dir", help="Folder of the trust root.")]
Second = Annotated[
    list[str] | None,
    typer.Option("--second-signature", help="For example verdict=ml-dsa-65, or verdict=none; repeatable."),
]

trust = typer.Typer(
    name="trust",
    help="Say who may sign and who has to approve. Every change makes a draft, which its keepers sign in turn.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(trust)


@trust.command(epilog="Example: weightgate trust init --key ann.pub --key bob.pub --threshold 2")
def init(
    *,
    key: Annotated[list[Path], typer.Option(help="Public key of a keeper of the root; repeatable.")],
    threshold: Annotated[int, typer.Option(help="How many keepers have to sign a change.", min=1)] = 1,
    days: Annotated[int, typer.Option(help="How long the root is valid.", min=1, max=36500)] = 365,
    folder: Dir = DEFAULT,
) -> None:
    """Start a trust root. The name of a key file is the name of its holder: ann.pub is held by ann."""
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.signing.keys import load_public
    from weightgate.lineage.trust.edit import add_key, new_root, set_expiry, set_threshold
    from weightgate.lineage.trust.folder import DRAFT, NEWEST

    if (folder / NEWEST).exists() or (folder / DRAFT).exists():
        raise InputError(f"{folder}: holds a trust root already", remedy="change it with trust add-key, or give --dir")
    now = _now()
    root = set_expiry(new_root(now), now, days)
    for path in key:
        root = add_key(root, load_public(path), "root", holder=path.stem)
    _write(folder, set_threshold(root, "root", threshold))


@trust.command("add-key", epilog="Example: weightgate trust add-key cleo.pub --role safety --threshold 2")
def add_key_(
    key: Annotated[Path, typer.Argument(help="Public key, PEM.", metavar="FILE")],
    *,
    role: Annotated[str, typer.Option(help="root, signer (of changesets and verdicts), or any name that approves.")],
    holder: Annotated[str | None, typer.Option(help="Who holds it, if not the name of the file.")] = None,
    threshold: Annotated[int | None, typer.Option(help="How many have to sign for the role.", min=1)] = None,
    folder: Dir = DEFAULT,
) -> None:
    """Give a key a role. Keys of one holder count once towards a threshold."""
    from weightgate.lineage.signing.keys import load_public
    from weightgate.lineage.trust.edit import add_key
    from weightgate.lineage.trust.folder import open_draft

    public = load_public(key)
    _write(folder, add_key(open_draft(folder), public, role, holder=holder or key.stem, threshold=threshold))


@trust.command("remove-key", epilog="Example: weightgate trust remove-key bob --revoke 'laptop stolen'")
def remove_key_(
    key: Annotated[str, typer.Argument(help="Public key file, holder, or start of a key id.", metavar="KEY")],
    *,
    role: Annotated[str | None, typer.Option(help="The role to take away; all of them by default.")] = None,
    revoke: Annotated[str | None, typer.Option(help="Never believe the key again, for this reason.")] = None,
    folder: Dir = DEFAULT,
) -> None:
    """Take roles from a key. What a revoked key signed does not verify any more, whenever it was signed."""
    from weightgate.lineage.trust.edit import remove_key
    from weightgate.lineage.trust.folder import open_draft

    draft = open_draft(folder)
    _write(folder, remove_key(draft, _find(draft, key), role, revoke=revoke, now=_now()))


@trust.command("set", epilog="Example: weightgate trust set --threshold safety=2 --second-signature verdict=ml-dsa-65")
def set_(
    *,
    threshold: Annotated[list[str] | None, typer.Option(help="ROLE=NUMBER; repeatable.")] = None,
    second_signature: Second = None,
    days: Annotated[int | None, typer.Option(help="Valid for so many days from now.", min=1, max=36500)] = None,
    one_role_per_key: Annotated[
        bool | None, typer.Option("--one-role-per-key/--many-roles-per-key", help="May a key have several roles?")
    ] = None,
    folder: Dir = DEFAULT,
) -> None:
    """Change thresholds, validity, and what has to be signed twice."""
    from weightgate.lineage.signing.schemes import KINDS
    from weightgate.lineage.trust import edit
    from weightgate.lineage.trust.folder import open_draft

    root = open_draft(folder)
    for name, value in map(_pair, threshold or ()):
        root = edit.set_threshold(root, name, int(value) if value.isascii() and value.isdigit() else 0)
    for name, value in map(_pair, second_signature or ()):
        kind = next((kind for kind in KINDS if kind == value), None)
        _one_of(value, (*KINDS, "none"))
        _one_of(name, ("changeset", "verdict", "model"))
        root = edit.set_second_signature(root, cast("Statement", name), kind)
    if one_role_per_key is not None:
        root = edit.set_one_role_per_key(root, only=one_role_per_key)
    _write(folder, edit.set_expiry(root, _now(), days) if days else root)


@trust.command(epilog="Example: weightgate trust sign --key ann.pem")
def sign(
    target: Annotated[
        Path, typer.Argument(help="Folder, or a draft that was sent to you.", metavar="[DIR|FILE]")
    ] = DEFAULT,
    *,
    key: Annotated[Path | None, typer.Option(help="Your private key.")] = None,
    merge: Annotated[list[Path] | None, typer.Option(help="Copy of the draft that another signed.")] = None,
) -> None:
    """Sign the draft. With enough signatures it becomes the next version.

    A change needs the threshold of the keepers before it and of those after it. The draft is one file, draft.root.json:
    send it round to be signed in turn, or collect signed copies with --merge.
    """
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.signing.keys import load_private
    from weightgate.lineage.trust.folder import sign_draft

    if key is None and not merge:
        raise InputError("nobody signs", remedy="give --key, or --merge with copies that were signed")
    done = sign_draft(target, load_private(key) if key else None, tuple(merge or ()))
    document = {"file": str(done.file), "complete": done.complete, "missing": list(done.missing)}
    if console.SETTINGS.json:
        console.emit({**document, "version": done.root.version})
        return
    state = f"version {done.root.version} is complete" if done.complete else f"signed; still needs {_and(done.missing)}"
    typer.echo(console.printable(f"{done.file}: {state}"))


@trust.command(epilog="Example: weightgate trust show .weightgate/trust")
def show(
    target: Annotated[Path, typer.Argument(help="Folder, root or draft.", metavar="[DIR|FILE]")] = DEFAULT,
) -> None:
    """Check a root and show who has which role, and what a draft still needs."""
    from weightgate.audit.cli.trust_show import show_root
    from weightgate.lineage.trust.folder import DRAFT, NEWEST, load_trust, read_root_file

    draft = target if target.name == DRAFT else target / DRAFT
    if not target.is_dir() and target.name != DRAFT:
        show_root(load_trust(target), target)
        return
    if target.is_dir() and (target / NEWEST).exists():
        current = load_trust(target)
        show_root(current, target / NEWEST, draft=read_root_file(draft) if draft.exists() else None)
        return
    show_root(None, target, draft=read_root_file(draft))


def _write(folder: Path, draft: TrustRoot) -> None:
    from weightgate.lineage.trust.folder import missing_signatures, write_draft

    path = write_draft(folder, draft)
    missing = missing_signatures(folder, draft)
    if console.SETTINGS.json:
        console.emit({"file": str(path), "version": draft.version, "complete": False, "missing": list(missing)})
    elif not console.SETTINGS.quiet:
        typer.echo(console.printable(f"{path}: draft of version {draft.version}; needs {_and(missing)}"))


def _find(root: TrustRoot, named: str) -> str:
    """The one key that a user means."""
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.signing.keys import load_public

    if Path(named).is_file():
        return load_public(Path(named)).key_id
    start = f"sha256:{named.removeprefix('sha256:')}"
    found = [key_id for key_id in root.keys if root.holder(key_id) == named]
    found = found or [key_id for key_id in root.keys if len(named) >= 8 and key_id.startswith(start)]
    if len(found) != 1:
        count = "no key" if not found else f"{len(found)} keys"
        raise InputError(f"{named}: {count} of that name", remedy="give the key id that weightgate trust show prints")
    return found[0]


def _pair(text: str) -> tuple[str, str]:
    from weightgate.lineage.errors import InputError

    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise InputError(f"{text!r} is not NAME=VALUE", remedy="write it as in safety=2")
    return name, value


def _one_of(value: str, allowed: tuple[str, ...]) -> None:
    from weightgate.lineage.errors import InputError

    if value not in allowed:
        raise InputError(f"{value!r} is none of {', '.join(allowed)}", remedy="correct --second-signature")


def _and(parts: tuple[str, ...]) -> str:
    return " and ".join(parts) or "nothing"


def _now() -> datetime:
    return datetime.now(UTC)
