"""Reads the claims that an author makes about an update, and the models that they name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse
from weightgate.lineage.strict_yaml import parse_yaml
from weightgate.lineage.weights.claims import Claims, read_claims
from weightgate.probes.integrity.claims import ClaimsProbe
from weightgate.probes.probe import Probe

MOST_BYTES = 1_000_000


def load_claims(path: Path) -> Claims:
    """The claims in a YAML or JSON file.

    Raises:
        InputError: unreadable, too large, malformed, an unknown field, or nothing is claimed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES} bytes: not a file of claims", remedy="check the path")
    document = parse(data, str(path)) if path.suffix == ".json" else parse_yaml(data, str(path)).value
    return read_claims(document, str(path))


def claimed_sources(claims: Claims | None, path: Path | None) -> list[Path]:
    """Folders of the models that a claimed merge names; relative ones are looked for beside the claims."""
    if claims is None or claims.merge is None or path is None:
        return []
    return [path.parent / source for source in claims.merge.sources]


def check_claims_are_probed(claims: Claims | None, probes: Sequence[Probe]) -> None:
    """Claims that no probe checks would be signed as if they held.

    Raises:
        InputError: there are claims, and the probe that checks them was not chosen.
    """
    if claims is not None and all(probe.name != ClaimsProbe.name for probe in probes):
        raise InputError(
            f"claims are given, but {ClaimsProbe.name}, which checks them, is not among the probes",
            remedy=f"add it to --probes: --probes '…,{ClaimsProbe.name}'",
        )
