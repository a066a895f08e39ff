"""Model signatures: the statement is that of OMS v1.0, and nothing about a signed model can change unnoticed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import IN_TOTO, pae
from weightgate.lineage.signing.oms import build_manifest, sign_manifest, write_signature
from weightgate.lineage.signing.oms_bundle import Bundle, read_bundle
from weightgate.lineage.signing.oms_keys import ModelSigningKey
from weightgate.lineage.signing.oms_statement import Manifest, is_ignored, path_fault, read_statement
from weightgate.lineage.signing.oms_verify import Believed, SignedModel, verify_model

KEY = ModelSigningKey(ec.derive_private_key(4711, ec.SECP256R1()))
NOW = datetime(2030, 1, 1, tzinfo=UTC)
FILES = {
    "config.json": b"{}",
    "sub.txt": b"text",
    "sub/x.bin": b"\0\1\2",
    ".hidden/a": b"h",
    "empty": b"",
    "é.txt": b"e",
}


def make(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """A model folder with these files."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def signed(folder: Path, **options: Any) -> Path:
    """Sign a folder in place."""
    write_signature(folder / "model.sig", sign_manifest(build_manifest(folder, **options), KEY))
    return folder


def verified(model: Path, signature: Path | None = None, **options: Any) -> SignedModel:
    """Verify with the one key."""
    return verify_model(model, signature or model / "model.sig", Believed(keys=(KEY.public,)), NOW, **options)


def stated(change: Callable[[dict[str, Any]], object], files: Mapping[str, bytes] = FILES) -> dict[str, Any]:
    """The statement about some files as a reference signer would write it, then changed."""
    resources = [
        {"name": name, "algorithm": "sha256", "digest": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    ]
    document: dict[str, Any] = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
            "resources": resources,
        },
    }
    change(document)
    if document["subject"] and "sha256" not in document["subject"][0]["digest"]:
        root = b"".join(bytes.fromhex(entry["digest"]) for entry in document["predicate"].get("resources", ()))
        document["subject"][0]["digest"]["sha256"] = hashlib.sha256(root).hexdigest()
    return document


def write_bundle(path: Path, document: object) -> Path:
    """Sign any statement."""
    payload = json.dumps(document).encode()
    path.write_bytes(Bundle(payload, IN_TOTO, KEY.sign(pae(IN_TOTO, payload)), hint=KEY.public.hint).to_bytes())
    return path


def test_the_statement_is_that_of_the_specification(tmp_path: Path) -> None:
    """Names in code-point order, SHA-256 of each file, the root digest of §6.5.1, and what was left out, ordered."""
    (tmp_path / "m" / ".git").mkdir(parents=True)
    model = signed(make(tmp_path / "m"), ignore_paths=["empty", str(tmp_path / "m" / "sub.txt")])
    document = json.loads((model / "model.sig").read_bytes())
    assert document["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert document["verificationMaterial"]["publicKey"]["hint"] == hashlib.sha256(KEY.public.public_pem).hexdigest()
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    resources = statement["predicate"]["resources"]
    assert [entry["name"] for entry in resources] == [".hidden/a", "config.json", "sub/x.bin", "é.txt"]
    assert [entry["digest"] for entry in resources] == [
        hashlib.sha256(FILES[entry["name"]]).hexdigest() for entry in resources
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(entry["digest"]) for entry in resources)).hexdigest()
    assert statement["subject"][0]["name"] == "m"
    assert statement["subject"][0]["digest"]["sha256"] == root
    assert statement["predicate"]["serialization"] == {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [
            ".git",
            "claims.jsonl",
            "empty",
            "model.second.json",
            "model.sig",
            "model.sig.tsr",
            "sub.txt",
        ],
    }


def test_dir_hash_is_what_sha256sum_says(tmp_path: Path) -> None:
    """The digest that binds names is that of the shell line in the docs."""
    model = signed(make(tmp_path / "m"))
    line = (
        "find . -type f ! -name model.sig | cut -c3- | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum"
    )
    out = subprocess.run(["bash", "-c", line], cwd=model, capture_output=True, text=True, check=True).stdout
    assert verified(model).manifest.digests["dirHash1"] == out.split()[0]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_openssl_verifies_the_signature(curve: ec.EllipticCurve, tmp_path: Path) -> None:
    """With nothing but the published encoding and the hash of the curve."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    key = ModelSigningKey(ec.generate_private_key(curve))
    bundle = sign_manifest(build_manifest(make(tmp_path / "m")), key)
    for name, data in (
        ("pae", pae(IN_TOTO, bundle.payload)),
        ("sig", bundle.signature),
        ("pem", key.public.public_pem),
    ):
        (tmp_path / name).write_bytes(data)
    algorithm = {256: "-sha256", 384: "-sha384", 521: "-sha512"}[curve.key_size]
    command = ["openssl", "dgst", algorithm, "-verify", "pem", "-signature", "sig", "pae"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout == b"Verified OK\n"


_names = st.text(st.sampled_from("ab./é "), min_size=1, max_size=6).filter(lambda name: path_fault(name) is None)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(_names, st.binary(max_size=8), min_size=1, max_size=5), data=st.data())
def test_any_model_verifies_and_any_change_is_found(
    files: dict[str, bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every file: changed, lengthened, emptied, removed, renamed, linked or joined by another is an integrity error."""
    folders = {name.rsplit("/", depth)[0] for name in files for depth in range(1, name.count("/") + 1)}
    files = {name: content for name, content in files.items() if name not in folders}
    model = signed(make(tmp_path_factory.mktemp("m"), files))
    assert {entry.name for entry in verified(model).manifest.resources} == set(files)
    victim = model / data.draw(st.sampled_from(sorted(files)))
    change = data.draw(st.sampled_from(["flip", "append", "remove", "rename", "link", "add"]))
    content = victim.read_bytes()
    if change == "flip" and content:
        at = data.draw(st.integers(0, len(content) - 1))
        victim.write_bytes(
            content[:at] + bytes([content[at] ^ (1 << data.draw(st.integers(0, 7)))]) + content[at + 1 :]
        )
    elif change in ("append", "flip"):
        victim.write_bytes(content + b"\0")
    elif change == "add":
        victim.with_name("zz.py").write_bytes(b"")
    else:
        moved = tmp_path_factory.mktemp("out") / "x" if change == "link" else victim.with_name("zz")
        victim.replace(moved)
        if change == "remove":
            moved.unlink()
        if change == "link":
            victim.symlink_to(moved)
    with pytest.raises(IntegrityError):
        verified(model)


def test_no_byte_of_the_signature_can_change_what_it_says(tmp_path: Path) -> None:
    """Each byte of model.sig, replaced: refused, or nothing that is read from it differs."""
    model = signed(make(tmp_path / "m", {"a": b"1"}))
    content = (model / "model.sig").read_bytes()
    original = read_bundle(content, "model.sig")
    for at, byte in enumerate(content):
        for other in (byte ^ 1, byte ^ 0x20):
            (model / "model.sig").write_bytes(content[:at] + bytes([other]) + content[at + 1 :])
            try:
                verified(model)
            except IntegrityError:
                continue
            assert read_bundle((model / "model.sig").read_bytes(), "model.sig") == original


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda m: (m / "config.json").write_bytes(b"[]"), "config.json: not the content"),
        (lambda m: (m / "sub" / "x.bin").unlink(), "sub/x.bin: signed, but not there"),
        (lambda m: (m / "sub.txt").rename(m / "sub2.txt"), "sub2.txt is there instead"),
        (lambda m: (m / "extra.py").touch(), "extra.py: not covered"),
        (lambda m: make(m, {".git/hooks/evil.py": b""}), ".git/hooks/evil.py: not covered"),
        (lambda m: make(m, {".cache/evil": b""}), ".cache/evil: not covered"),
        (lambda m: (m / "etc").symlink_to("/etc"), "etc: a symbolic link"),
        (lambda m: (m / "more").symlink_to("sub.txt"), "more: a symbolic link"),
        (lambda m: (m / "claims.jsonl").symlink_to("sub.txt"), "claims.jsonl: not a regular file"),
        (lambda m: make(m, {"claims.jsonl/evil.py": b""}), "claims.jsonl: not a regular file"),
        (lambda m: os.mkfifo(m / "pipe"), "pipe: not a regular file"),
        (lambda m: (m / "a\x1b[2J").touch(), "control characters"),
        (lambda m: Path(os.fsdecode(os.fsencode(m) + b"/\xff")).touch(), "not UTF-8"),
    ],
)
def test_what_is_wrong_is_named(break_it: Callable[[Path], object], named: str, tmp_path: Path) -> None:
    """One integrity error that names the file."""
    model = signed(make(tmp_path / "m"))
    break_it(model)
    with pytest.raises(IntegrityError) as caught:
        verified(model)
    assert named in str(caught.value)


def _set(*path: Any) -> Callable[[dict[str, Any]], object]:
    """Change of a statement: the last element is put at the place that the others name."""
    *way, last, value = path

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for step in way:
            place = place[step]
        place[last] = value

    return change


SERIALIZATION = ("predicate", "serialization")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_set(*SERIALIZATION, "ignore_paths", ["."]), "not in normal form"),
        (_set(*SERIALIZATION, "ignore_paths", [""]), "a name is needed"),
        (_set(*SERIALIZATION, "ignore_paths", ["/etc"]), "absolute"),
        (_set(*SERIALIZATION, "ignore_paths", ["a/../.."]), "leaves the model"),
        (_set(*SERIALIZATION, "ignore_paths", "sub"), "not a list"),
        (_set(*SERIALIZATION, "ignore_paths", ["sub"]), "both covers and ignores"),
        (_set(*SERIALIZATION, "hash_type", "md5"), "md5"),
        (_set(*SERIALIZATION, "method", "globs"), "globs"),
        (_set(*SERIALIZATION, "method", "shards"), "shards"),
        (_set(*SERIALIZATION, "allow_symlinks", "no"), "allow_symlinks"),
        (_set(*SERIALIZATION, "surprise", 1), "surprise"),
        (_set("predicate", "changeset", {}), "changeset"),
        (_set("predicate", "resources", []), "no file at all"),
        (_set("predicate", "resources", 0, "name", "../config.json"), "leaves the model"),
        (_set("predicate", "resources", 0, "name", "/config.json"), "absolute"),
        (_set("predicate", "resources", 0, "name", "./config.json"), "normal form"),
        (_set("predicate", "resources", 0, "algorithm", "md5"), "md5"),
        (_set("predicate", "resources", 0, "digest", "00"), "no sha256 digest"),
        (_set("subject", 0, "digest", "sha256", "0" * 64), "root digest"),
        (_set("subject", 0, "digest", "dirHash1", "0" * 64), "dirHash1"),
        (_set("subject", []), "malformed"),
        (_set("subject", [{"name": "a", "digest": {}}] * 2), "malformed"),
        (_set("_type", "https://in-toto.io/Statement/v0.1"), "Statement/v0.1"),
        (_set("predicateType", "https://slsa.dev/provenance/v1"), "provenance"),
        (_set("predicate", {}), "malformed"),
        (lambda document: document["predicate"]["resources"].append(document["predicate"]["resources"][0]), "twice"),
    ],
)
def test_a_statement_with_two_readings_is_refused(
    change: Callable[[dict[str, Any]], object], why: str, tmp_path: Path
) -> None:
    """However well it is signed; the reference client accepts several of these."""
    model = make(tmp_path / "m")
    write_bundle(model / "model.sig", stated(change))
    with pytest.raises(IntegrityError, match=why):
        verified(model)


def test_bundles_of_older_signers_verify(tmp_path: Path) -> None:
    """Another order of names, no ignore_paths, keyid null or absent, the key itself instead of its name."""
    model = make(tmp_path / "m")

    def older(document: dict[str, Any]) -> None:
        document["predicate"]["resources"].reverse()
        del document["predicate"]["serialization"]["ignore_paths"]

    path = write_bundle(tmp_path / "x.sig", stated(older))
    document = json.loads(path.read_bytes())
    document["verificationMaterial"] = {"publicKey": {"rawBytes": base64.b64encode(KEY.public.public_pem).decode()}}
    document["dsseEnvelope"]["signatures"][0]["keyid"] = None
    path.write_text(json.dumps(document, indent=2))
    assert verified(model, path).uncovered == ()


def test_the_first_version_verifies_with_its_own_encoding_only(tmp_path: Path) -> None:
    """One subject a file, signed over Python's representation; that encoding around today's form is refused."""
    model = make(tmp_path / "m", {"a": b"1"})
    digest = {"sha256": hashlib.sha256(b"1").hexdigest()}
    first = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "a", "digest": digest}],
        "predicateType": "https://model_signing/Digests/v0.1",
        "predicate": {"unused": ""},
    }
    for document, good in ((first, True), (stated(lambda _: None, {"a": b"1"}), False)):
        payload = json.dumps(document).encode()
        old = f"DSSEV1 {len(IN_TOTO)} {IN_TOTO} {len(payload)} {payload!r}".encode()
        bundle = Bundle(payload, IN_TOTO, KEY.sign(old), hint=KEY.public.hint)
        (tmp_path / "x.sig").write_bytes(bundle.to_bytes())
        if good:
            assert verified(model, tmp_path / "x.sig").manifest.resources[0].name == "a"
        else:
            with pytest.raises(IntegrityError):
                verified(model, tmp_path / "x.sig")


@pytest.mark.parametrize("name", [".", "config.json"])
def test_a_single_file_verifies_under_both_of_its_names(name: str, tmp_path: Path) -> None:
    """The reference signer calls it a dot, the specification by its name; another file or content is refused."""
    model = make(tmp_path, {"config.json": b"{}", "other.json": b"{}"})
    path = write_bundle(tmp_path / "x.sig", stated(_set("predicate", "resources", 0, "name", name), {"a": b"{}"}))
    assert verified(model / "config.json", path).uncovered == ()
    if name != ".":
        with pytest.raises(IntegrityError, match="is called config"):
            verified(model / "other.json", path)
    (model / "config.json").write_bytes(b"[]")
    with pytest.raises(IntegrityError, match="not the content"):
        verified(model / "config.json", path)


@pytest.mark.parametrize("hash_type", ["sha256", "blake2b"])
@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_shards_verify_and_changes_in_them_are_found(hash_type: str, size: int, tmp_path: Path) -> None:
    """Byte ranges as the reference writes them, size as a float; a change, a longer file and a new file are found."""
    files = {"a:b.bin": b"0123456789", "c": b"xyz"}
    model = make(tmp_path / "m", {**files, "empty": b""})

    def shards(document: dict[str, Any]) -> None:
        document["predicate"]["serialization"] |= {
            "method": "shards",
            "hash_type": hash_type,
            "shard_size": float(size),
        }
        document["predicate"]["resources"] = [
            {
                "name": f"{name}:{at}:{min(at + size, len(data))}",
                "algorithm": f"{hash_type}-sharded-{size}",
                "digest": hashlib.new(hash_type, data[at : at + size]).hexdigest(),
            }
            for name, data in files.items()
            for at in range(0, len(data), size)
        ]

    path = write_bundle(tmp_path / "x.sig", stated(shards))
    assert verified(model, path).uncovered == ("empty",)
    for name, data in (("c", b"xyZ"), ("c", b"xyz0"), ("a:b.bin", b"012345678"), ("new", b"1")):
        before = (model / name).read_bytes() if (model / name).exists() else None
        (model / name).write_bytes(data)
        with pytest.raises(IntegrityError):
            verified(model, path)
        (model / name).unlink() if before is None else (model / name).write_bytes(before)


def test_what_may_be_ignored_is_ignored_and_said(tmp_path: Path) -> None:
    """Declared or allowed files are named as uncovered; a signed file is checked whatever is to be ignored."""
    model = signed(make(tmp_path / "m"), ignore_paths=["empty"])
    make(model, {"log/1": b"", "log/2": b""})
    assert verified(model, ignore_paths=["log"]).uncovered == ("empty", "log")
    assert verified(model, ignore_unsigned_files=True).uncovered == ("empty", "log/1", "log/2")
    (model / "sub" / "x.bin").write_bytes(b"changed")
    for options in ({"ignore_paths": ["log", "sub"]}, {"ignore_unsigned_files": True}):
        with pytest.raises(IntegrityError, match=r"x\.bin"):
            verified(model, **options)


@pytest.mark.parametrize("path", [".", "", "/etc", "..", "a/../..", "*.log", "./a", "a\x00"])
def test_an_ignored_path_is_one_clear_place(path: str, tmp_path: Path) -> None:
    """Nothing outside the model, no patterns, not the model itself."""
    with pytest.raises(InputError, match=r"ignored path|not within"):
        build_manifest(make(tmp_path / "m"), ignore_paths=[path])


@pytest.mark.parametrize(
    "prepare",
    [
        lambda folder: (folder / "link").symlink_to("config.json"),
        lambda folder: (folder / "loop").symlink_to("."),
        lambda folder: (folder / "new\nline").touch(),
        shutil.rmtree,
        lambda folder: [shutil.rmtree(folder), folder.mkdir(), (folder / ".gitignore").touch()],
    ],
    ids=["link", "loop", "newline", "missing", "empty"],
)
def test_what_cannot_be_covered_is_not_signed(prepare: Callable[[Path], object], tmp_path: Path) -> None:
    """Links, odd names and empty models are bad input."""
    model = make(tmp_path / "m")
    prepare(model)
    with pytest.raises(InputError):
        build_manifest(model)


def test_a_signature_is_never_overwritten_silently(tmp_path: Path) -> None:
    """Only when asked to."""
    model = signed(make(tmp_path / "m"))
    before = (model / "model.sig").read_bytes()
    with pytest.raises(InputError, match="exists"):
        signed(model)
    assert (model / "model.sig").read_bytes() == before
    write_signature(model / "model.sig", sign_manifest(build_manifest(model), KEY), force=True)
    verified(model)


def test_another_key_and_another_kind_of_trust_are_refused(tmp_path: Path) -> None:
    """A key that did not sign, none at all, or certificates where a key signed."""
    model = signed(make(tmp_path / "m"))
    other = ModelSigningKey(ec.generate_private_key(ec.SECP256R1())).public
    with pytest.raises(IntegrityError, match="signed by key"):
        verify_model(model, model / "model.sig", Believed(keys=(other,)), NOW)
    with pytest.raises(InputError, match="no ECDSA key"):
        verify_model(model, model / "model.sig", Believed(), NOW)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_as_a_bundle_or_statement(data: bytes) -> None:
    """With an integrity error, never a crash."""
    with pytest.raises(IntegrityError):
        read_bundle(data, "x")
    with pytest.raises(IntegrityError):
        read_statement(data)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "AA==", "sha256"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(data=st.data(), value=_json)
def test_a_malformed_field_is_an_integrity_error(data: st.DataObject, value: object) -> None:
    """Any value at any place of a bundle or a statement is read or refused, never a crash."""
    statement = stated(lambda _: None)
    bundle = json.loads(Bundle(b"{}", IN_TOTO, b"s", hint="k").to_bytes())
    for document, read in ((statement, read_statement), (bundle, lambda raw: read_bundle(raw, "x"))):
        place: Any = document
        while True:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
                break
            place = place[key]
        place[key] = value
        with contextlib.suppress(IntegrityError):
            assert isinstance(read(json.dumps(document).encode()), Manifest | Bundle)


def test_ignoring_stops_at_the_end_of_a_name() -> None:
    """A path covers itself and what lies under it, not names that merely start like it."""
    assert is_ignored("a/b", ["a"])
    assert not is_ignored("ab", ["a"])
    assert not is_ignored("x/a", ["a"])
