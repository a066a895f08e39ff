#!/usr/bin/env python3
"""Adapter for the public OMS conformance suite (github.com/sampras343/model-signing-conformance).

    pip install pytest pytest-json-report jsonschema referencing oms-schemas   # what the suite asks for
    pytest test/ --entrypoint=.../benchmarks/oms_adapter.py                    # in a checkout of the suite

The suite calls it once for each signature to make or check; only the exit status counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from weightgate.audit.sign import sign
from weightgate.audit.verify_model import verify_signed_model
from weightgate.lineage.errors import WeightgateError


def main() -> int:
    """Sign or verify one model as the suite asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["sign-model", "verify-model"])
    parser.add_argument("--method", choices=["key", "certificate"], required=True)
    parser.add_argument("--model-path", type=Path, required=True)
    for name in ("--output-bundle", "--bundle", "--private-key", "--public-key", "--signing-cert"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--cert-chain", type=Path, action="append", default=[])
    parser.add_argument("--ignore-paths", action="append", default=[])
    parser.add_argument("--ignore-unsigned-files", action="store_true")
    asked = parser.parse_args()
    try:
        (_sign if asked.action == "sign-model" else _verify)(asked)
    except WeightgateError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _sign(asked: argparse.Namespace) -> None:
    chain = [asked.signing_cert, *asked.cert_chain] if asked.method == "certificate" else []
    sign(
        asked.model_path,
        key=asked.private_key,
        certificate_chain=chain,
        ignore_paths=asked.ignore_paths,
        signature=asked.output_bundle,
        force=True,
    )


def _verify(asked: argparse.Namespace) -> None:
    verify_signed_model(
        asked.model_path,
        public_keys=[asked.public_key] if asked.method == "key" else [],
        certificate_chain=asked.cert_chain if asked.method == "certificate" else [],
        signature=asked.bundle,
        ignore_paths=asked.ignore_paths,
        ignore_unsigned_files=asked.ignore_unsigned_files,
    )


if __name__ == "__main__":
    sys.exit(main())
