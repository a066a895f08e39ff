"""Signs a model for everyone: an OMS signature in it, and the audit's own attestations beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightgate.audit.claims import Claim, Identity, check_claim, second_claim
from weightgate.audit.verify_model import claim_keys
from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.claims import append_claims
from weightgate.lineage.signing.envelope import Envelope, read_envelope
from weightgate.lineage.signing.keys import SigningKey, VerifyingKey, default_key_path, load_private
from weightgate.lineage.signing.oms import (
    CLAIMS,
    SIGNATURE,
    build_manifest,
    sign_manifest,
    signing_chain,
    write_atomically,
    write_signature,
)
from weightgate.lineage.signing.oms_bundle import read_bundle, read_file
from weightgate.lineage.signing.oms_certificates import load_certificates
from weightgate.lineage.signing.oms_keys import load_signing_key
from weightgate.lineage.signing.oms_statement import Manifest, read_statement
from weightgate.lineage.signing.second import check_second_key, countersign, second_file


@dataclass(frozen=True, slots=True)
class Signing:
    """What `sign` wrote."""

    signature: Path
    """The bundle; an older one where claims were only appended."""
    manifest: Manifest
    claims: tuple[Claim, ...]
    added: int
    """Claims that were not there before."""
    note: str = ""
    """Why the signature states no digests of the checkpoint, where it states none."""


def sign(
    model: Path,
    *,
    key: Path | None,
    certificate_chain: Sequence[Path] = (),
    ignore_paths: Sequence[str] = (),
    changeset: Path | None = None,
    verdict: Path | None = None,
    replay: Path | None = None,
    approvals: Sequence[Path] = (),
    second_key: Path | None = None,
    public_keys: Sequence[Path] = (),
    signature: Path | None = None,
    append: bool = False,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Signing:
    """Sign a model folder, and lay claims of an audit beside it.

    Args:
        model: folder of the model.
        key: PEM private key, ECDSA on P-256, P-384 or P-521; not needed with ``append``.
        certificate_chain: PEM files: the certificate of the key, then what leads to its root.
        ignore_paths: files or folders to leave out, relative to the model.
        changeset: signed changeset of the audit that approved the model.
        verdict: signed verdict of that audit.
        replay: signed replay of the changeset.
        approvals: approvals of that verdict.
        second_key: key of another scheme that signs the model too, in ``model.second.json`` beside the bundle.
        public_keys: who may have signed the two, beside ``key`` and the user's own key.
        signature: where to write the bundle, where it is not ``model.sig`` in the model.
        append: add claims only; the bundle stays as it is.
        force: sign anew where a bundle is there.
        progress: told the number of bytes of each file that was hashed.

    Raises:
        InputError: bad input; nothing was written.
        IntegrityError: a claim that does not check out, or is about another model; nothing was written.
    """
    target, identity = signature or model / SIGNATURE, Identity(model)
    envelopes = tuple(read_envelope(path) for path in _claim_files((changeset, verdict, replay), approvals))
    second = load_private(second_key) if second_key else None
    if second is not None:
        check_second_key("ecdsa-p256", second.public)
    if append:
        manifest, note = _signed_already(target, envelopes), ""
    else:
        digests, note = _digests(identity, needed=bool(envelopes))
        manifest = build_manifest(
            model, ignore_paths=ignore_paths, signature=target, digests=digests, progress=progress
        )
    keys = _believed(key, public_keys) if envelopes else ()
    claims = _checked(envelopes, keys, identity, manifest)
    if not append:
        _write(target, manifest, key, certificate_chain, second, force=force)
    added = append_claims(model / CLAIMS, envelopes) if envelopes else 0
    return Signing(target, manifest, claims, added, note)


def _claim_files(statements: Sequence[Path | None], approvals: Sequence[Path]) -> list[Path]:
    """What to lay beside the model: each statement, the second signature beside it where there is one, approvals."""
    files = []
    for path in statements:
        if path is not None:
            files += [path, *(other for other in [second_file(path)] if other.exists())]
    return [*files, *approvals]


def _checked(
    envelopes: Sequence[Envelope], keys: Sequence[VerifyingKey], identity: Identity, manifest: Manifest
) -> tuple[Claim, ...]:
    claims: dict[bytes, Claim] = {}
    found = []
    for entry in envelopes:
        what, first = f"claim {entry.key_id}", claims.get(entry.payload)
        claim = second_claim(entry, what, keys, first) if first else check_claim(entry, what, keys, identity, manifest)
        claims.setdefault(entry.payload, claim)
        found.append(claim)
    return tuple(found)


def _write(
    target: Path,
    manifest: Manifest,
    key: Path | None,
    chain: Sequence[Path],
    second: SigningKey | None,
    *,
    force: bool,
) -> None:
    if key is None:
        raise InputError(
            "no key to sign with", remedy="give --key FILE; make one with `weightgate keygen FILE --kind ecdsa-p256`"
        )
    signing_key = load_signing_key(key)
    certificates = [certificate for path in chain for certificate in load_certificates(path)]
    leading = signing_chain(certificates, signing_key, datetime.now(UTC)) if certificates else ()
    bundle = sign_manifest(manifest, signing_key, leading)
    write_signature(target, bundle, force=force)
    # A second signature over what was signed before would not belong to this bundle any more.
    second_file(target).unlink(missing_ok=True)
    if second is not None:
        write_atomically(second_file(target), countersign(bundle.payload, second))


def _signed_already(target: Path, envelopes: Sequence[Envelope]) -> Manifest:
    if not envelopes:
        raise InputError("nothing to append", remedy="give --changeset, --verdict, --replay or --approval")
    manifest = read_statement(read_bundle(read_file(target), str(target)).payload)
    if CLAIMS not in manifest.ignore_paths:
        raise InputError(
            f"{target}: does not leave {CLAIMS} out, so that adding it would break the signature",
            remedy="sign the model anew with weightgate sign --force",
        )
    return manifest


def _digests(identity: Identity, *, needed: bool) -> tuple[dict[str, str], str]:
    """Digests of the checkpoint, or why there are none: OMS signs folders of any kind."""
    try:
        return identity.digests(), ""
    except InputError as error:
        if needed:
            raise
        return {}, f"no checkpoint digests are stated: {error}"


def _believed(key: Path | None, public_keys: Sequence[Path]) -> tuple[VerifyingKey, ...]:
    own = default_key_path().with_suffix(".pub")
    keys = list(claim_keys([*public_keys, *([own] if own.exists() else [])]))
    if key is not None and (signer := _public_half(key)) is not None:
        keys.append(signer)
    return tuple(keys)


def _public_half(key: Path) -> VerifyingKey | None:
    """The public half of a key that can sign audits as well; None for one that cannot."""
    try:
        return load_private(key).public
    except InputError:
        load_signing_key(key)
        return None
