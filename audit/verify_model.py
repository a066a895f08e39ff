"""Checks a signed model: the signature over its files, then every claim beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from weightgate.audit.claims import CHECKPOINT_ROOT, TENSOR_ROOT, Claim, Identity, check_claim, second_claim
from weightgate.audit.times import trusted_times
from weightgate.audit.verify import Check, Verification
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.claims import read_claims
from weightgate.lineage.signing.envelope import Envelope
from weightgate.lineage.signing.key_files import read_public
from weightgate.lineage.signing.keys import VerifyingKey, load_public
from weightgate.lineage.signing.oms import CLAIMS, SIGNATURE
from weightgate.lineage.signing.oms_certificates import load_certificates
from weightgate.lineage.signing.oms_keys import ModelVerifyingKey
from weightgate.lineage.signing.oms_statement import Manifest
from weightgate.lineage.signing.oms_verify import Believed, verify_model


def verify_signed_model(
    model: Path,
    *,
    public_keys: Sequence[Path],
    certificate_chain: Sequence[Path] = (),
    identity: str | None = None,
    signature: Path | None = None,
    ignore_paths: Sequence[str] = (),
    ignore_unsigned_files: bool = False,
    tsa_roots: Sequence[Path] = (),
) -> Verification:
    """Verify a model folder, or a single file with its signature elsewhere, and the claims beside it.

    Args:
        model: the model.
        public_keys: PEM files of the keys to believe, for the model's signature and for claims.
        certificate_chain: PEM files with the roots to believe; the model then has to be signed with a certificate.
        identity: e-mail address, URI or host name that the signing certificate has to be for.
        signature: the bundle, where it is not ``model.sig`` in the model.
        ignore_paths: unsigned files or folders to allow.
        ignore_unsigned_files: allow any unsigned file.
        tsa_roots: PEM files of timestamping authorities to believe: a certificate has to be valid at the time that a
            timestamp beside the signature states, rather than now.

    Raises:
        InputError: something cannot be read, or no key that could have signed was given.
        IntegrityError: the first thing that does not check out.
    """
    if identity is not None and not certificate_chain:
        raise InputError("an identity is that of a certificate", remedy="give its root with --certificate-chain")
    believed = Believed(
        keys=model_keys(public_keys),
        roots=tuple(certificate for path in certificate_chain for certificate in load_certificates(path)),
        identity=identity,
    )
    keys = claim_keys(public_keys)
    return checked_model(
        model,
        signature or model / SIGNATURE,
        believed,
        lambda _: keys,
        ignore_paths=ignore_paths,
        ignore_unsigned_files=ignore_unsigned_files,
        tsa_roots=tsa_roots,
    ).verification


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A model that verified, with the claims beside it."""

    verification: Verification
    claims: tuple[tuple[Envelope, Claim], ...]


def checked_model(
    model: Path,
    signature: Path,
    believed: Believed,
    keys: Callable[[Envelope], Sequence[VerifyingKey]],
    *,
    ignore_paths: Sequence[str] = (),
    ignore_unsigned_files: bool = False,
    tsa_roots: Sequence[Path] = (),
) -> CheckedModel:
    """As `verify_signed_model`; ``keys`` says whose signature counts on a claim, which is not checked yet.

    Raises:
        InputError: something cannot be read.
        IntegrityError: the first thing that does not check out.
    """
    times = trusted_times([signature], tsa_roots)
    signed = verify_model(
        model,
        signature,
        believed,
        times.get(signature, datetime.now(UTC)),
        ignore_paths=ignore_paths,
        ignore_unsigned_files=ignore_unsigned_files,
    )
    manifest = signed.manifest
    checks = [
        Check("model signature", f"OMS, by {signed.signer}"),
        Check("files", f"{_count(manifest)}, each the one that was signed; digest {manifest.root[:16]}…"),
    ]
    if signed.uncovered:
        checks.append(Check("not covered by the signature", ", ".join(signed.uncovered)))
    checks += [Check("trusted time", f"signed before {time:%Y-%m-%dT%H:%M:%SZ}") for time in times.values()]
    claims = _claims(model, manifest, keys)
    checks += [
        Check(f"claim {number}", f"{claim.detail}, by {claim.signer}") for number, (_, claim) in enumerate(claims, 1)
    ]
    verdicts = sorted((claim.decided, claim.verdict) for _, claim in claims if claim.verdict)
    changesets = [claim.payload for _, claim in claims if claim.kind == "changeset"]
    found = Verification(
        target=model,
        verdict=verdicts[-1][1] if verdicts else None,
        changeset=changesets[-1] if changesets else None,
        checks=tuple(checks),
    )
    return CheckedModel(found, tuple(claims))


def model_keys(paths: Sequence[Path]) -> tuple[ModelVerifyingKey, ...]:
    """The keys among ``paths`` that can have signed a model; Ed25519 keys sign claims only.

    Raises:
        InputError: a file that is no public key.
    """
    keys = [(read_public(path), path) for path in paths]
    return tuple(
        ModelVerifyingKey.of(key, str(path)) for key, path in keys if isinstance(key, ec.EllipticCurvePublicKey)
    )


def claim_keys(paths: Sequence[Path]) -> tuple[VerifyingKey, ...]:
    """The keys among ``paths`` that can have signed an audit: Ed25519 and P-256; other curves sign models only.

    Raises:
        InputError: a file that is no public key.
    """
    found = [(read_public(path), path) for path in paths]
    return tuple(
        load_public(path)
        for key, path in found
        if not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size > 256)
    )


def _claims(
    model: Path, manifest: Manifest, keys: Callable[[Envelope], Sequence[VerifyingKey]]
) -> list[tuple[Envelope, Claim]]:
    path = model / CLAIMS
    if not model.is_dir() or not path.exists() or CLAIMS not in manifest.ignore_paths:
        return []
    identity = Identity(model)
    claims: list[tuple[Envelope, Claim]] = []
    for number, envelope in enumerate(read_claims(path), start=1):
        what = f"{path}, line {number}"
        first = next((claim for other, claim in claims if other.payload == envelope.payload), None)
        checked = (
            second_claim(envelope, what, keys(envelope), first)
            if first
            else check_claim(envelope, what, keys(envelope), identity, manifest)
        )
        claims.append((envelope, checked))
    if claims and not manifest.digests.items() >= _stated(identity, manifest).items():
        raise IntegrityError(
            f"{model}: the signature states other checkpoint digests than its files have",
            remedy="do not trust this signature; have the model signed again",
        )
    return claims


def _stated(identity: Identity, manifest: Manifest) -> dict[str, str]:
    """Those digests of the checkpoint that the signature states, as its files have them."""
    if not {TENSOR_ROOT, CHECKPOINT_ROOT} & manifest.digests.keys():
        return {}
    return {name: value for name, value in identity.digests().items() if name in manifest.digests}


def _count(manifest: Manifest) -> str:
    kind = "byte ranges" if manifest.shard_size else "files"
    return f"{len(manifest.resources)} {kind}"
