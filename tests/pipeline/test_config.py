"""The configuration: validation, identity, methods as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Config, ConfigError, load_config, parse_config, parse_method
from pipeline.config_sections import MethodConfig


def test_defaults_are_a_valid_audit():
    assert Config().automatic
    assert Config() == parse_config({})


@pytest.mark.parametrize(
    "section",
    [{"execution": {"batch_size": 3, "workers": 4}}, {"ranking": {"draws": 500}}],
    ids=["execution", "ranking"],
)
def test_how_the_work_is_done_is_no_part_of_the_run_id(section):
    assert parse_config(section).run_id == Config().run_id


@pytest.mark.parametrize(
    "section",
    [
        {"audit": {"seed": 1}},
        {"audit": {"precision": "bfloat16"}},
        {"audit": {"xla": True}},
        {"dataset": {"limit": 3}},
        {"methods": [{"name": "gradient"}]},
    ],
    ids=["seed", "precision", "xla", "limit", "methods"],
)
def test_what_changes_a_result_changes_the_run_id(section):
    assert parse_config(section).run_id != Config().run_id


def test_what_earlier_versions_did_not_know_is_no_part_of_a_run_that_leaves_it_out():
    """Their runs go on: what identifies them has no such field."""
    identity = Config().identity()
    assert "xla" not in identity["audit"]
    assert not {"group", "choice"} & identity["dataset"].keys()
    chosen = parse_config({"audit": {"xla": True}, "dataset": {"choice": "spread"}}).identity()
    assert (chosen["audit"]["xla"], chosen["dataset"]["choice"]) == (True, "spread")


def test_every_fault_is_one_line_with_field_and_value():
    with pytest.raises(ConfigError) as caught:
        parse_config({"audit": {"pooling": "max"}, "execution": {"batch_size": -1}, "extra": 1}, "a.toml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("a.toml: ") for line in lines)
    assert any("audit.pooling" in line and "'max'" in line for line in lines)
    assert any("execution.batch_size" in line and "received -1" in line for line in lines)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a = ", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"a = " + b"9" * 5000, "not valid TOML: Exceeds the limit"),
        (b"a = " + b"[" * 5000, "not valid TOML: nested too deeply"),
    ],
    ids=["syntax", "encoding", "number", "depth"],
)
def test_a_broken_file_is_one_error(tmp_path: Path, content: bytes, reason: str):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        load_config(tmp_path / "a.toml")
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_read_over(tmp_path: Path):
    text = '\ufeff[dataset]\nsource = "planted"\n[model]\nsource = "planted"\n'
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    assert load_config(tmp_path / "a.toml").dataset.source == "planted"


def test_a_missing_file_is_one_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml")


def test_a_file_becomes_a_config(tmp_path: Path):
    (tmp_path / "a.toml").write_text(
        '[dataset]\nname = "voc/2007"\n[model]\nsource = "VGG16"\n[[methods]]\nname = "gradient"\n'
    )
    config = load_config(tmp_path / "a.toml")
    assert (config.model.source, config.methods) == ("VGG16", (MethodConfig(name="gradient"),))


_values = st.one_of(
    st.integers(-(2**31), 2**31),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8),
    st.lists(st.integers(0, 9), max_size=3),
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), _values, max_size=3))
def test_a_methods_key_reads_back(params: dict):
    method = MethodConfig(name="lrp.x", params=params)
    assert parse_method(method.key) == method


@pytest.mark.parametrize("text", ["", "a b", "a(", "a(1)", "a(x=)", "a(x=1) b", "a(x=1)(y=2)"])
def test_what_is_no_method_is_refused(text: str):
    with pytest.raises(ConfigError, match="method"):
        parse_method(text)


@pytest.mark.parametrize("value", ["2026-01-01", "10:00:00", "[1, {y = 2026-01-01T10:00:00}]"])
def test_a_date_is_no_parameter(value: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^method .*parameter 'x' is a date or time"):
        parse_method(f"lrp.epsilon(x={value})")
    file = tmp_path / "audit.toml"
    file.write_text(f'[[methods]]\nname = "lrp.epsilon"\nparams = {{x = {value}}}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"methods\.0.params: .*parameter 'x' is a date or time"):
        load_config(file)


def test_methods_may_be_written_as_text():
    listed = parse_config({"methods": ["gradient", "lrp.epsilon(eps=0.1)"]}).methods
    assert listed == (MethodConfig(name="gradient"), MethodConfig(name="lrp.epsilon", params={"eps": 0.1}))
    assert parse_config({"methods": "auto"}) == parse_config({"methods": ["auto"]}) == Config()
    assert not parse_config({"methods": ["gradient"]}).automatic


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["auto", "gradient"], "methods: auto chooses one method itself and takes no parameters; leave out"),
        (["auto(images=3)"], "auto chooses one method itself and takes no parameters"),
        ([], "methods: no method; name one, or leave the choice to 'auto'"),
        (["a b"], "method 'a b': expected name or name"),
    ],
)
def test_auto_stands_alone_and_no_method_is_none(methods: list[str], message: str):
    with pytest.raises(ConfigError) as caught:
        parse_config({"methods": methods}, "a.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
