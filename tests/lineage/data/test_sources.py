"""Where data may come from: real git and DVC repositories, a hub's cache, a real MLflow store."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weightgate.lineage.data.dataset import Dataset, load_dataset
from weightgate.lineage.data.location import Location, parse_location
from weightgate.lineage.errors import InputError, IntegrityError, MissingExtraError

# Two blocks with one MD5 (Wang, Feng, Lai, Yu, 2004); JSON lines cannot hold them, a file can.
COLLISION = tuple(
    bytes.fromhex(text)
    for text in (
        (
            "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f8955ad340609f4b30283e488832571415a085125e8f7cdc99f"
            "d91dbdf280373c5bd8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0e99f33420f577ee8ce54b67080a80d1e"
            "c69821bcb6a8839396f9652b6ff72a70"
        ),
        (
            "d131dd02c5e6eec4693d9a0698aff95c2fcab50712467eab4004583eb8fb7f8955ad340609f4b30283e4888325f1415a085125e8f7cdc99f"
            "d91dbd7280373c5bd8823e3156348f5bae6dacd436c919c6dd53e23487da03fd02396306d248cda0e99f33420f577ee8ce54b67080280d1e"
            "c69821bcb6a8839396f965ab6ff72a70"
        ),
    )
)
ONE, TWO = b'{"text": "one"}\n', b'{"text": "two"}\n'


def run(folder: Path, *command: str) -> str:
    """Output of a command that must succeed."""
    environment = os.environ | {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "DVC_NO_ANALYTICS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def dvc(folder: Path, *arguments: str) -> str:
    """DVC, from this very environment."""
    return run(folder, sys.executable, "-m", "dvc", *arguments)


def texts(data: Dataset) -> list[str]:
    """What its rows say."""
    return [row.text for row in data.rows]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository whose data is in DVC with a local remote, and the commit of its first version."""
    home = tmp_path_factory.mktemp("tracked")
    root, remote = home / "repo", home / "remote"
    (root / "folder").mkdir(parents=True)
    run(root, "git", "init", "-q", ".")
    dvc(root, "init", "-q")
    dvc(root, "remote", "add", "-q", "-d", "store", str(remote))
    (root / "train.jsonl").write_bytes(ONE)
    (root / "plain.jsonl").write_bytes(ONE)
    (root / "folder" / "a.jsonl").write_bytes(ONE)
    (root / "folder" / "b.csv").write_bytes(b"text\nfrom csv\n")
    (root / "folder" / "README.md").write_bytes(b"# about\n")
    (root / "collide.jsonl").write_bytes(COLLISION[0])
    (root / "dvc.yaml").write_text(
        "stages:\n  make:\n    cmd: cp plain.jsonl made.jsonl\n    deps: [plain.jsonl]\n    outs: [made.jsonl]\n"
    )
    dvc(root, "add", "-q", "train.jsonl", "folder", "collide.jsonl")
    dvc(root, "repro", "-q")
    dvc(root, "push", "-q")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "one")
    first = run(root, "git", "rev-parse", "HEAD")
    (root / "train.jsonl").write_bytes(TWO)
    (root / "plain.jsonl").write_bytes(TWO)
    dvc(root, "add", "-q", "train.jsonl")
    run(root, "git", "commit", "-qam", "two")
    return root, first


@pytest.mark.parametrize(
    ("given", "location"),
    [
        ("train.jsonl", Location("file", "train.jsonl")),
        ("odd@name#x.jsonl", Location("file", "odd@name#x.jsonl")),
        ("C:data.jsonl", Location("file", "C:data.jsonl")),
        ("train.jsonl.dvc", Location("dvc", "train.jsonl")),
        ("git:a@b/t.jsonl@v1", Location("git", "a@b/t.jsonl", "v1")),
        ("dvc:data", Location("dvc", "data")),
        ("dvc:data.dvc@v1#*.csv", Location("dvc", "data", "v1", "*.csv")),
        ("hf:o/n@main#data/*.parquet", Location("hf", "o/n", "main", "data/*.parquet")),
        ("mlflow:abc#train", Location("mlflow", "abc", None, "train")),
    ],
)
def test_locations_are_read_and_written(given: str, location: Location) -> None:
    """One syntax; what is written reads back as the same place."""
    assert parse_location(given) == location
    assert parse_location(location.uri) == location


@pytest.mark.parametrize("given", ["git:x.jsonl", "git:x@-f", "dvc:", "dvc:-x", "mlflow:run@v1", "git:@v1", "hf:a\0b"])
def test_locations_that_name_nothing_are_refused(given: str) -> None:
    """A revision must be there and must not pass for an option."""
    with pytest.raises(InputError) as caught:
        parse_location(given)
    assert caught.value.remedy


def test_a_path_is_a_file_whatever_its_name(tmp_path: Path) -> None:
    """The changeset names the file, not the folders above it."""
    path = tmp_path / "train.jsonl"
    path.write_bytes(ONE)
    (source,) = load_dataset([str(path)], "training").sources
    assert (source.kind, source.uri, source.revision) == ("file", "train.jsonl", None)
    assert (source.files[0].sha256, source.files[0].bytes) == (hashlib.sha256(ONE).hexdigest(), len(ONE))


def test_git_reads_the_revision_and_not_the_working_tree(tracked: tuple[Path, str]) -> None:
    """A changed file is of no account; the commit that was read is recorded in full."""
    root, first = tracked
    found = load_dataset([f"git:{root}/plain.jsonl@{first[:10]}"], "training")
    assert texts(found) == ["one"]
    (source,) = found.sources
    assert (source.kind, source.uri, source.revision) == ("git", f"git:plain.jsonl@{first}", first)
    assert found.rows[0].id == "plain.jsonl:1"
    assert texts(load_dataset([f"git:{root}/plain.jsonl@HEAD"], "training")) == ["two"]


def test_git_errors(tracked: tuple[Path, str], tmp_path: Path) -> None:
    """No such revision, no such path, no repository, a link, a file kept elsewhere."""
    root, _ = tracked
    link = tmp_path / "linked"
    link.mkdir()
    run(link, "git", "init", "-q", ".")
    (link / "l.jsonl").symlink_to("/etc/passwd")
    (link / "lfs.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (link / "bad.jsonl").write_text("{\n")
    run(link, "git", "add", "-A")
    run(link, "git", "commit", "-qm", "x")
    for given, message in (
        (f"git:{root}/plain.jsonl@nowhere", "no git revision 'nowhere'"),
        (f"git:{root}/none.jsonl@HEAD", "not in the repository"),
        (f"git:{tmp_path}/x.jsonl@HEAD", "not in a git repository"),
        (f"git:{link}/l.jsonl@HEAD", "link or a submodule"),
        (f"git:{link}/lfs.jsonl@HEAD", "pointer to Git LFS"),
        (f"git:{link}/bad.jsonl@HEAD", r"^bad\.jsonl:1 is not JSON"),
    ):
        with pytest.raises(InputError, match=message):
            load_dataset([given], "training")


def test_dvc_reads_the_working_tree_and_any_revision(tracked: tuple[Path, str]) -> None:
    """Files, folders, pointers and outputs of a pipeline; MD5 stands in the annotations only."""
    root, first = tracked
    now, then = (load_dataset([f"dvc:{root}/train.jsonl{at}"], "training") for at in ("", f"@{first}"))
    assert (texts(now), texts(then)) == (["two"], ["one"])
    (source,) = then.sources
    assert (source.kind, source.uri, source.revision) == ("dvc", f"dvc:train.jsonl@{first}", first)
    assert source.files[0].sha256 == then.sha256 == hashlib.sha256(ONE).hexdigest()
    assert source.annotations["dvc_md5"] == hashlib.md5(ONE, usedforsecurity=False).hexdigest()
    assert source.annotations["dvc_remote"] == "store"
    assert texts(load_dataset([f"{root}/train.jsonl.dvc"], "training")) == ["two"]
    assert texts(load_dataset([f"dvc:{root}/made.jsonl"], "training")) == ["one"]
    for given in (f"dvc:{root}/folder", f"dvc:{root}/folder@{first}"):
        found = load_dataset([given], "training")
        assert texts(found) == ["one", "from csv"]
        assert [file.name for file in found.sources[0].files] == ["folder/a.jsonl", "folder/b.csv"]
    assert texts(load_dataset([f"dvc:{root}/folder@HEAD#*.csv"], "training")) == ["from csv"]


def test_dvc_errors(tracked: tuple[Path, str]) -> None:
    """A path that DVC does not track, a revision that is not there."""
    root, _ = tracked
    for given, message in (
        (f"dvc:{root}/plain.jsonl", "DVC tracks no such"),
        (f"dvc:{root}/none.jsonl@HEAD", "DVC tracks no such"),
        (f"dvc:{root}/train.jsonl@nowhere", "no git revision"),
        ("dvc:/train.jsonl", "not in a DVC repository"),
    ):
        with pytest.raises(InputError, match=message):
            load_dataset([given], "training")


def test_an_edit_that_keeps_size_and_time_is_refused(tracked: tuple[Path, str]) -> None:
    """DVC itself takes the file for unchanged: it trusts size and time."""
    root, _ = tracked
    path = root / "train.jsonl"
    kept, before = path.read_bytes(), path.stat()
    path.write_bytes(kept.replace(b"two", b"bad"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    try:
        assert dvc(root, "status", "--json", "train.jsonl.dvc") == "{}"
        with pytest.raises(IntegrityError, match="differs from what DVC recorded"):
            load_dataset([f"dvc:{path}"], "training")
    finally:
        path.write_bytes(kept)


def test_a_file_that_collides_is_refused(tracked: tuple[Path, str]) -> None:
    """DVC sees one MD5 and no change; the copy in its cache has another SHA-256. Refused before it is parsed."""
    root, _ = tracked
    path = root / "collide.jsonl"
    kept, swapped = COLLISION
    assert path.read_bytes() == kept != swapped
    assert hashlib.md5(kept, usedforsecurity=False).digest() == hashlib.md5(swapped, usedforsecurity=False).digest()
    with pytest.raises(InputError, match="not UTF-8"):
        load_dataset([f"dvc:{path}"], "training")
    path.write_bytes(swapped)
    try:
        assert dvc(root, "status", "--json", "collide.jsonl.dvc") == "{}"
        with pytest.raises(IntegrityError, match="but other bytes"):
            load_dataset([f"dvc:{path}"], "training")
    finally:
        path.write_bytes(kept)


def test_extra_and_missing_files_in_a_tracked_folder_are_refused(tracked: tuple[Path, str]) -> None:
    """The folder is what DVC recorded, or it is not read."""
    root, _ = tracked
    extra = root / "folder" / "c.jsonl"
    extra.write_bytes(TWO)
    with pytest.raises(IntegrityError, match="not among the files"):
        load_dataset([f"dvc:{root}/folder"], "training")
    extra.unlink()
    (root / "folder" / "a.jsonl").unlink()
    with pytest.raises(InputError, match="not in the working tree"):
        load_dataset([f"dvc:{root}/folder"], "training")
    (root / "folder" / "a.jsonl").write_bytes(ONE)


def test_a_damaged_cache_is_noticed(tracked: tuple[Path, str]) -> None:
    """At a revision the bytes must be the ones recorded."""
    root, first = tracked
    md5 = hashlib.md5(ONE, usedforsecurity=False).hexdigest()
    (stored,) = (root / ".dvc" / "cache").glob(f"**/{md5[:2]}/{md5[2:]}")
    remote = next((root.parent / "remote").glob(f"**/{md5[:2]}/{md5[2:]}"))
    for copy in (stored, remote):
        copy.chmod(0o644)
        copy.write_bytes(TWO)
    try:
        with pytest.raises((IntegrityError, InputError)):
            load_dataset([f"dvc:{root}/train.jsonl@{first}"], "training")
    finally:
        for copy in (stored, remote):
            copy.chmod(0o644)
            copy.write_bytes(ONE)


@pytest.mark.parametrize(
    ("given", "module", "extra"),
    [("dvc:x", "dvc.api", "dvc"), ("mlflow:x", "mlflow", "mlflow"), ("x.parquet", "pyarrow", "parquet")],
)
def test_a_missing_extra_is_named(given: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        load_dataset([given], "training")
    assert caught.value.remedy == f"pip install 'weightgate[{extra}]'"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub's cache with one data set, and no network. Gives the commit."""
    from huggingface_hub import constants

    commit = "c0ffee" * 6 + "c0ff"
    folder = tmp_path / "datasets--anna--notes"
    snapshot = folder / "snapshots" / commit / "data"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    pq.write_table(pa.table({"text": ["one"]}), snapshot / "train.parquet")
    (snapshot / "test.jsonl").write_bytes(TWO)
    (snapshot / "load.py").write_text("raise SystemExit\n")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return commit


def test_a_data_set_of_a_hub_is_read_from_its_cache(hub: str) -> None:
    """Data files only, at the commit; scripts are not run."""
    found = load_dataset(["hf:anna/notes@main"], "training")
    assert sorted(texts(found)) == ["one", "two"]
    assert found.sources[0].uri == f"hf:anna/notes@{hub}"
    assert texts(load_dataset([f"hf:anna/notes@{hub}#data/train*"], "training")) == ["one"]


def test_a_hub_that_is_out_of_reach_is_an_error(hub: str) -> None:
    """Offline and not in the cache: says so, and what to do."""
    for given, message in (("hf:anna/none@main", "neither a hub nor its cache"), ("hf:../x", "not a name on a hub")):
        with pytest.raises(InputError, match=message) as caught:
            load_dataset([given], "training")
        assert caught.value.remedy


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A tracking store in SQLite, and its runs by what is odd about them."""
    import mlflow
    from mlflow.data.http_dataset_source import HTTPDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    home = tmp_path_factory.mktemp("tracking")
    path = home / "train.jsonl"
    path.write_bytes(ONE)
    sha256 = hashlib.sha256(ONE).hexdigest()
    mlflow.set_tracking_uri(f"sqlite:///{home}/runs.db")
    experiment = mlflow.create_experiment("x", artifact_location=str(home / "artifacts"))
    source = mlflow.data.dataset_source_registry.resolve_dataset_source(str(path))
    made = {}
    for what, inputs in {
        "plain": [(MetaDataset(source, name="train"), {})],
        "tagged": [(MetaDataset(source, name="train"), {"sha256": sha256})],
        "wrong": [(MetaDataset(source, name="train"), {"sha256": "0" * 64})],
        "two": [(MetaDataset(source, name="train"), {}), (MetaDataset(source, name="eval", digest="e"), {})],
        "http": [(MetaDataset(HTTPDatasetSource("https://example.org/x.jsonl"), name="web"), {})],
        "none": [],
    }.items():
        with mlflow.start_run(experiment_id=experiment) as run_:
            for dataset, tags in inputs:
                mlflow.log_input(dataset, context="training", tags=tags)
        made[what] = run_.info.run_id
    return home, made


def test_inputs_of_a_run_are_read_and_hashed_again(runs: tuple[Path, dict[str, str]]) -> None:
    """MLflow's eight digits are an annotation; a sha256 tag is checked."""
    _, made = runs
    found = load_dataset([f"mlflow:{made['plain']}"], "training")
    assert texts(found) == ["one"]
    (source,) = found.sources
    assert (source.kind, source.uri) == ("mlflow", f"mlflow:{made['plain']}#train")
    assert source.files[0].sha256 == hashlib.sha256(ONE).hexdigest()
    assert len(source.annotations["mlflow_digest"]) == 8
    assert source.annotations["mlflow_context"] == "training"
    assert texts(load_dataset([f"mlflow:{made['tagged']}"], "training")) == ["one"]
    assert texts(load_dataset([f"mlflow:{made['two']}#eval"], "training")) == ["one"]


def test_inputs_that_cannot_be_read_or_trusted(runs: tuple[Path, dict[str, str]]) -> None:
    """A tag that lies is an integrity error; the rest says what to choose or give."""
    _, made = runs
    with pytest.raises(IntegrityError, match="not 000000000000… as recorded"):
        load_dataset([f"mlflow:{made['wrong']}"], "training")
    for what, message in (
        (made["two"], "names 2 inputs of the run, which has: eval, train"),
        (made["none"], "names no inputs"),
        (f"{made['plain']}#other", "names no inputs"),
        (made["http"], "of type http"),
        ("0" * 32, "gives no such run"),
    ):
        with pytest.raises(InputError, match=message):
            load_dataset([f"mlflow:{what}"], "training")
