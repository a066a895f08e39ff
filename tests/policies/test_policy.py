"""Policies are read strictly: a policy that says something else than its author meant is never loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.errors import InputError
from weightgate.policies.policy import MAX_POLICY_BYTES, load_policy, pack, packs, resolve

GOOD = """\
name: mine
version: 3
require:
  - probe: regression.suite
    min_n: 40
budgets:
  - metric: regression.suite/accuracy
    max_drop: 0.05
"""


@pytest.fixture
def write(tmp_path: Path):
    """Write a policy file and return its path."""

    def _write(text: str | bytes) -> Path:
        path = tmp_path / "policy.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return _write


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_policy(path)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    return str(caught.value)


def test_a_good_policy_is_read_with_its_defaults(write) -> None:
    """Fields left out take the documented defaults, and the digest does not depend on the layout of the file."""
    policy = load_policy(write(GOOD))
    assert (policy.name, policy.version, policy.level) == ("mine", 3, 0.95)
    assert (policy.require[0].min_n, policy.require[0].on_missing) == (40, "review")
    assert (policy.budgets[0].max_drop, policy.budgets[0].severity) == (0.05, "block")
    assert policy.digest == load_policy(write("# a comment\n" + GOOD.replace("0.05", "5.0e-2"))).digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("min_n", "min_m"), "policy.yaml:5: require[0].min_m: unknown key (did you mean 'min_n'?)"),
        (("max_drop", "max_dorp"), "policy.yaml:8: budgets[0].max_dorp: unknown key (did you mean 'max_drop'?)"),
        (("budgets:", "budget:"), "policy.yaml:6: budget: unknown key (did you mean 'budgets'?)"),
        (("version: 3", "version: 3\nversion: 4"), "policy.yaml:3: the key 'version' is given twice"),
        (("version: 3\n", ""), "version: is missing"),
        (("version: 3", "version: '3'"), "version: Input should be a valid integer, not '3'"),
        (("version: 3", "version: true"), "version: Input should be a valid integer, not True"),
        (("0.05", "-0.05"), "budgets[0].max_drop: Input should be greater than or equal to 0, not -0.05"),
        (("0.05", ".nan"), "budgets[0].max_drop"),
        (("0.05", ".inf"), "budgets[0].max_drop"),
        (("0.05", "0.05\n    max_rise: 0.1"), "give exactly one of max_drop and max_rise"),
        (("    max_drop: 0.05\n", ""), "give exactly one of max_drop and max_rise"),
        (
            ("0.05", "0.05\n    max_since_anchor: 0.01"),
            "max_since_anchor (0.01) is smaller than one step may be (0.05)",
        ),
        (("name: mine", "name: mine\nchain: {methud: fixed}"), "chain.methud: unknown key (did you mean 'method'?)"),
        (("name: mine", "name: mine\nchain: {method: elond}"), "(did you mean 'e-lond'?)"),
        (("name: mine", "name: mine\nchain: {alpha: 1}"), "chain.alpha: Input should be less than 1"),
        (("0.05", "0.05\n    on_missing: ignored"), "(did you mean 'ignore'?)"),
        (("name: mine", "name: mine\nlevel: 95"), "level: Input should be less than 1"),
        (("name: mine", "name: mine\nfindings: {block_at: low, review_at: high}"), "is more severe than block_at"),
        (("name: mine", "name: &a mine\ndescription: *a"), "aliases"),
        (("name: mine", "name: !!python/name:os.system"), "policy.yaml:1: tags"),
        (("name: mine", "<<: {name: mine}"), "a key must be text"),
        (("name: mine", "1: mine"), "a key must be text"),
        (("name: mine", "name: [mine"), "policy.yaml:2"),
        (("name: mine", "name: mine\n---\na: 1"), "policy.yaml"),
    ],
)
def test_a_faulty_policy_is_refused_by_file_and_field(write, change: tuple[str, str], said: str) -> None:
    """Every fault is an InputError that names the file, the line and the field."""
    message = refusal(write(GOOD.replace(*change)))
    assert said in message
    assert "policy.yaml" in message


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"\x00", b"a: \x1b[31m", b"[" * 5000, b"- 1", b"null"])
def test_files_that_are_not_policies_are_refused(write, data: bytes) -> None:
    """Empty, binary, deeply nested and misshapen files give one clear error and no traceback of a parser."""
    assert "policy.yaml" in refusal(write(data))


def test_all_faults_are_reported_at_once_in_the_order_of_the_file(write) -> None:
    """A person corrects a policy in one round."""
    lines = refusal(write(GOOD.replace("min_n", "min_m").replace("0.05", "-1"))).splitlines()
    assert [line.split(":")[1] for line in lines] == ["5", "8"]


def test_the_size_is_bounded(write) -> None:
    """A file over the bound is refused before it is parsed."""
    assert "larger than" in refusal(write(b"#" * (MAX_POLICY_BYTES + 1)))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    """A path that is no file is an input error, not a crash."""
    refusal(tmp_path)
    refusal(tmp_path / "absent.yaml")


YAML_PIECES = (
    *("!!int", "!!bool ", "!!timestamp", "!!binary", "!!set", "&a ", "*a", "<<", ": ", "\n", "- ", "[", "]", "{", "}"),
    *(
        "name",
        "0x",
        "1:60",
        "2024-01-01",
        ".inf",
        "~",
        "|\n ",
        ">",
        "%YAML 1.2",
        "---",
        "'",
        '"',
        "#",
        "\t",
        "_",
        "0b_",
    ),
)


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from(YAML_PIECES), max_size=12).map(lambda pieces: "".join(pieces).encode())
)
@settings(max_examples=500, deadline=None)
def test_no_bytes_crash_the_reader(tmp_path_factory, data: bytes) -> None:
    """Whatever the file holds, the reader returns a policy or raises InputError."""
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_policy(path)


@pytest.mark.parametrize("name", ["default", "strict", "research"])
def test_the_shipped_policies_load(name: str) -> None:
    """Each pack is valid, bears its own name and says what it is for."""
    policy = pack(name)
    assert policy.name == name
    assert policy.description
    assert all(budget.why for budget in policy.budgets)


def test_strict_is_stricter_than_default() -> None:
    """Whatever default limits, strict limits at least as tightly, and nothing in strict may be missing."""
    default, strict = pack("default"), pack("strict")
    limits = {b.metric: b for b in strict.budgets}
    for budget in default.budgets:
        other = limits[budget.metric]
        assert (other.max_drop or 0) <= (budget.max_drop or 0)
        assert (other.max_rise or 0) <= (budget.max_rise or 0)
    assert strict.level >= default.level
    assert all(rule.on_missing == "block" for rule in (*strict.require, *strict.budgets))
    assert {r.probe for r in default.require} <= {r.probe for r in strict.require}


def test_resolve_takes_a_name_or_a_path(write) -> None:
    """A shipped name and a file path both resolve; a typing error is answered with the likely name."""
    assert resolve("default") == pack("default")
    assert resolve(str(write(GOOD))).name == "mine"
    assert resolve(write(GOOD)).name == "mine"
    assert packs() == ("default", "research", "strict")
    with pytest.raises(InputError, match="did you mean 'default'"):
        resolve("defualt")
    with pytest.raises(InputError, match="ships"):
        pack("../default")
