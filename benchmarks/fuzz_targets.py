"""What is fuzzed: every parser of bytes that others wrote, with valid documents to begin from.

A target takes any bytes. `Target.check` lets through what a parser is allowed to raise, and nothing else.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from weightgate.lineage.changeset import Changeset, Delta, ModelVersion, read_changeset, statement
from weightgate.lineage.data.dataset import load_dataset
from weightgate.lineage.data.row_proof import read_proof as read_row_proof
from weightgate.lineage.data.row_set import RowSet
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.checkpoint import read_checkpoint, read_proof
from weightgate.lineage.history.documents import read_entry
from weightgate.lineage.history.note import NoteKey, open_note, sign_note
from weightgate.lineage.recipe import Recipe, RecipeInput, load_recipe
from weightgate.lineage.replay import Replay, read_replay
from weightgate.lineage.replay import statement as replay_statement
from weightgate.lineage.signing.claims import claim_line, read_claims
from weightgate.lineage.signing.envelope import read_envelope, sign
from weightgate.lineage.signing.external import load_external
from weightgate.lineage.signing.keys import SigningKey, load_public
from weightgate.lineage.signing.oms_bundle import read_bundle
from weightgate.lineage.signing.oms_certificates import load_certificates, parse_chain
from weightgate.lineage.signing.oms_statement import Manifest, Resource, read_statement, write_statement
from weightgate.lineage.strict_json import parse, parse_config
from weightgate.lineage.strict_yaml import parse_yaml
from weightgate.lineage.trust.approval import read_approval
from weightgate.lineage.trust.root import read_root
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.delta.choice import CODECS
from weightgate.lineage.weights.delta.container import MAGIC, open_delta
from weightgate.lineage.weights.delta.header import encode, read_header
from weightgate.lineage.weights.delta.pack import pack
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.tokenizer import read_tokenizer
from weightgate.policies.policy import load_policy, packs
from weightgate.reports.json_report import read_record
from weightgate.reports.statement import read_verdict

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
_ZERO = "0" * 64


@dataclass(frozen=True, slots=True)
class Target:
    """A parser and valid documents for it."""

    parser: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]

    def check(self, data: bytes) -> None:
        """Parse; anything but the two errors that are allowed comes out."""
        with contextlib.suppress(InputError, IntegrityError):
            self.parser(data)


def in_file(name: str, parser: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A parser of files as one of bytes."""

    def parse_file(data: bytes) -> object:
        path = _scratch() / name
        path.write_bytes(data)
        return parser(path)

    return parse_file


@cache
def _scratch() -> Path:
    folder = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    return Path(tempfile.mkdtemp(prefix="weightgate-fuzz-", dir=folder if folder.is_dir() else None))


@cache
def _model(seed: int) -> Path:
    folder = _scratch() / f"model-{seed}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(_safetensors(seed))
    (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": 4}')
    (folder / "tokenizer.json").write_text(json.dumps(_TOKENIZER))
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    return folder


_TOKENIZER = {
    "version": "1.0",
    "added_tokens": [{"id": 3, "content": "<|end|>", "special": True}],
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
}


def _safetensors(seed: int = 0) -> bytes:
    words = np.random.default_rng(seed).integers(0x3C00, 0x3E00, 48, np.uint16).tobytes()
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
            "b": {"dtype": "F32", "shape": [8], "data_offsets": [64, 96]},
        }
    ).encode()
    return len(header).to_bytes(8, "little") + header + words


def _in_model(name: str) -> Callable[[bytes], object]:
    """A document of a model folder; all that is read of the folder is read."""

    def read(data: bytes) -> object:
        folder = _model(9)
        place = folder / name
        before = place.read_bytes() if place.exists() else None
        try:
            place.write_bytes(data)
            opened = Checkpoint.open(folder)
            read_tokenizer(opened)
            return fingerprint(opened)
        finally:
            if before is None:
                place.unlink(missing_ok=True)
            else:
                place.write_bytes(before)

    return read


def _delta() -> bytes:
    out = _scratch() / "seed.wgd"
    if not out.exists():
        pack(_model(0), _model(1), out)
    return out.read_bytes()


def _header() -> bytes:
    return _delta()[20 : 20 + int.from_bytes(_delta()[12:20], "little")]


def _resealed(data: bytes) -> object:
    """A delta with this header and a digest that fits: what an attacker would write."""
    body = MAGIC + (1).to_bytes(4, "little") + len(data).to_bytes(8, "little") + data
    return in_file("delta.wgd", open_delta)(body + hashlib.sha256(body).digest())


def _codec(name: str) -> Target:
    base = np.random.default_rng(0).integers(0, 1 << 16, 600, np.uint16).tobytes()
    block = np.random.default_rng(1).integers(0, 1 << 16, 600, np.uint16).tobytes()
    return Target(
        lambda data: CODECS[name].decode(data, base, "BF16", len(base)),
        lambda: [CODECS[name].encode(other, base, "BF16") for other in (block, base, base[:600] + block[600:])],
    )


def _changeset() -> Changeset:
    version = ModelVersion(name="v1", root=_ZERO, tensor_root=_ZERO, parameters=1)
    return Changeset(
        created="2030-01-01T00:00:00Z",
        author=KEY.key_id,
        parent=version,
        child=version,
        delta=Delta(kind="identical", tensors_total=1, tensors_changed=0, parameters_changed_fraction=0),
        recipe=Recipe(
            command=("python", "train.py"),
            inputs=(RecipeInput(path="train.py", sha256=_ZERO, nbytes=1),),
            output="child",
        ),
    )


def _replay() -> bytes:
    roots: dict[str, Any] = dict.fromkeys(("parent", "child", "tensor_root", "changeset"), _ZERO)
    return replay_statement(
        Replay(outcome="differs", replayed="2030-01-01T00:00:00Z", replayer=KEY.key_id, name="v2", **roots)
    )


def _manifest() -> bytes:
    return write_statement(Manifest("m", (Resource("a", "sha256", _ZERO),), (".git",), {"dirHash1": _ZERO}))


def _signed(payload: bytes) -> bytes:
    return sign(payload, KEY).to_bytes()


_RECIPES = (
    b"command: [a]\ninputs: []\noutput: o\nthreads: 1\nseeds: {x: 1}\n",
    b"dvc: train\ndirectory: .\n",
    b"command: ['a']\ninputs: [x]\noutput: o\ntolerance: {max_abs: 0.1, relative_norm: 1}\nenvironment: {A: b}\n",
)
_STAGE = b"schema: '2.0'\nstages:\n  train:\n    cmd: python a\n    outs: [{path: o, md5: x, hash: md5}]\n"


def _stage(data: bytes) -> object:
    """As dvc.lock, beside a fixed dvc.yaml."""
    (_scratch() / "dvc.yaml").write_text("stages:\n  train:\n    cmd: python a\n")
    (_scratch() / "dvc.lock").write_bytes(data)
    recipe = _scratch() / "stage.yaml"
    recipe.write_text("dvc: train\n")
    return load_recipe(recipe)


def _rows(name: str) -> Callable[[bytes], object]:
    return in_file(name, lambda path: load_dataset([path], "training"))


def _parquet() -> list[bytes]:
    """Nothing to begin from where pyarrow, which reads it, is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return [b"PAR1PAR1"]
    out = _scratch() / "seed.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["q"], "completion": ["a"]}), out)
    return [out.read_bytes()]


def _note_key() -> NoteKey:
    return NoteKey("o", KEY.public)


def _checkpoints() -> list[bytes]:
    return [sign_note(f"o\n1\n{base64.b64encode(bytes(32)).decode()}\n", "o", KEY)]


def _certificate(encoding: Encoding = Encoding.PEM) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    day = datetime(2030, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, day, day + timedelta(1))
    return builder.sign(private, None).public_bytes(encoding)


def _policies() -> list[bytes]:
    import weightgate.policies.policy as module

    folder = Path(module.__file__).parent / "packs"
    return [(folder / f"{name}.yaml").read_bytes() for name in packs()]


TARGETS: MappingProxyType[str, Target] = MappingProxyType(
    {
        "strict_json": Target(lambda data: parse(data, "x"), lambda: [b'{"a": [1, 2.5, null, "\\u00e9"]}']),
        "strict_json.config": Target(lambda data: parse_config(data, "x"), lambda: [b'{"a": Infinity, "b": 1e400}']),
        "strict_yaml": Target(lambda data: parse_yaml(data, "x"), lambda: [*_RECIPES, b"a: {b: [1, 'x']}\n"]),
        "safetensors": Target(in_file("x.safetensors", Checkpoint.open), lambda: [_safetensors()]),
        "checkpoint.config": Target(_in_model("config.json"), lambda: [b'{"model_type": "llama"}']),
        "checkpoint.tokenizer": Target(_in_model("tokenizer.json"), lambda: [json.dumps(_TOKENIZER).encode()]),
        "checkpoint.tokenizer_config": Target(
            _in_model("tokenizer_config.json"), lambda: [b'{"chat_template": [{"name": "default", "template": "x"}]}']
        ),
        "checkpoint.adapter_config": Target(
            _in_model("adapter_config.json"), lambda: [b'{"peft_type": "LORA", "r": 2, "target_modules": ["q"]}']
        ),
        "checkpoint.index": Target(
            _in_model("model.safetensors.index.json"), lambda: [b'{"weight_map": {"a": "model.safetensors"}}']
        ),
        "delta": Target(in_file("x.wgd", open_delta), lambda: [_delta()]),
        "delta.header": Target(lambda data: read_header(data, "x"), lambda: [_header()]),
        "delta.resealed": Target(_resealed, lambda: [_header(), encode(read_header(_header(), "x"))]),
        "delta.ectx": _codec("ectx"),
        "delta.xor": _codec("xor"),
        "delta.raw": _codec("raw"),
        "envelope": Target(read_envelope, lambda: [_signed(b"{}"), _signed(_replay())]),
        "bundle": Target(lambda data: read_bundle(data, "x"), lambda: [claim_line(sign(b"{}", KEY))]),
        "claims": Target(in_file("claims.jsonl", read_claims), lambda: [claim_line(sign(b"{}", KEY)) + b"\n"]),
        "oms_statement": Target(read_statement, lambda: [_manifest()]),
        "public_key": Target(in_file("x.pub", load_public), lambda: [KEY.public_pem]),
        "changeset": Target(lambda data: read_changeset(_signed(data), KEY.public), lambda: [statement(_changeset())]),
        "replay": Target(read_replay, lambda: [_replay()]),
        "verdict": Target(read_verdict, lambda: [b'{"predicate": {"verifier": {"version": {"a": "b"}}}}']),
        "record": Target(read_record, lambda: [b'{"tool": "weightgate 1", "results": []}']),
        "policy": Target(in_file("policy.yaml", load_policy), _policies),
        "recipe": Target(in_file("recipe.yaml", load_recipe), lambda: list(_RECIPES)),
        "recipe.json": Target(
            in_file("recipe.json", load_recipe), lambda: [b'{"command": ["a"], "inputs": [], "output": "o"}']
        ),
        "data.jsonl": Target(_rows("x.jsonl"), lambda: [b'{"prompt": "q", "completion": "a"}\n{"text": "t"}\n']),
        "data.csv": Target(_rows("x.csv"), lambda: [b"prompt,completion\nq,a\n"]),
        "data.parquet": Target(_rows("x.parquet"), _parquet),
        "rows.proof": Target(lambda data: read_row_proof(data, "x"), lambda: [b'{"version": "1", "root": "00"}']),
        "rows.index": Target(RowSet.from_bytes, lambda: [bytes(32) + b"\1" * 32]),
        "log.note": Target(lambda data: open_note(data, []), lambda: [b"o\n1\nAA==\n\n\xe2\x80\x94 o AAAAAAAA\n"]),
        "log.checkpoint": Target(lambda data: read_checkpoint(data, "o", [_note_key()]), _checkpoints),
        "log.proof": Target(read_proof, lambda: [b"c2sp.org/tlog-proof@v1\nindex 0\n\no\n1\nAA==\n\n"]),
        "log.entry": Target(lambda data: read_entry(data, 0), lambda: [b'{"kind":"changeset"}']),
        "trust.root": Target(
            lambda data: read_root(data, "x"), lambda: [b'{"signatures": [], "signed": {"_type": "root"}}']
        ),
        "trust.approval": Target(lambda data: read_approval(data, "x"), lambda: [b'{"predicate": {}, "subject": []}']),
        "certificates": Target(in_file("x.pem", load_certificates), lambda: [_certificate()]),
        "certificates.chain": Target(lambda data: parse_chain([data]), lambda: [_certificate(Encoding.DER)]),
        "signer": Target(in_file("signer.yaml", load_external), lambda: [b"command: [a]\npublic_key: x.pub\n"]),
        "recipe.stage": Target(_stage, lambda: [_STAGE]),
    }
)
