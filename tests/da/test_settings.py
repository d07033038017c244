"""Settings of a node: sources, refusals, and their description in the docs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from da.bootstrap import node_config
from da.node import NodeConfig
from da.settings import (
    CLIENT_ENVIRONMENT,
    MAX_CONFIG_BYTES,
    Settings,
    SettingsError,
    TokenSettings,
    load,
    unknown_environment,
)

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"
REQUIRED = 'data_dir = "data"\ncommittee_file = "/etc/committee.json"\nkeystore_file = "~/key.json"\n'


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.upper().startswith("DA_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """A config file with this text."""

    def writing(text: str) -> Path:
        path = tmp_path / "node.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return writing


def test_paths_count_from_the_file(write: Callable[[str], Path], tmp_path: Path) -> None:
    settings = load(write(REQUIRED))
    assert settings.data_dir == tmp_path / "data"
    assert settings.committee_file == Path("/etc/committee.json")
    assert settings.keystore_file == Path.home() / "key.json"
    assert settings.password_file is None


def test_stronger_sources_win(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(REQUIRED + "port = 1\nrows_max = 1\nkeep_alive_s = 1\n")
    monkeypatch.setenv("DA_PORT", "2")
    monkeypatch.setenv("da_rows_max", "2")
    settings = load(path, port=3, rows_max=None)
    assert (settings.keep_alive_s, settings.rows_max, settings.port) == (1, 2, 3)


def test_roles_come_as_a_list_or_as_text(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(write(REQUIRED + 'roles = ["member", "disperser"]')).roles == ("member", "disperser")
    monkeypatch.setenv("DA_ROLES", "member, disperser")
    assert load(write(REQUIRED)).roles == ("member", "disperser")


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATA_DIR", "COMMITTEE_FILE", "KEYSTORE_FILE"):
        monkeypatch.setenv(f"DA_{name}", str(tmp_path / name))
    assert load().data_dir == tmp_path / "DATA_DIR"


def test_settings_are_frozen(write: Callable[[str], Path]) -> None:
    settings = load(write(REQUIRED))
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('dat_dir = "x"', 'unknown setting "dat_dir" (did you mean "data_dir"?)'),
        ("zzzzzz = 1", 'unknown setting "zzzzzz"'),
        ("[tokenz]\nx = 1", 'did you mean "tokens"?'),
        ("", "data_dir: is required"),
        (REQUIRED + "port = 70000", "port: Input should be less than or equal to 65535 (got 70000)"),
        (REQUIRED + 'port = "x"', "port:"),
        (REQUIRED + "port = [1]", "port:"),
        (REQUIRED + "data_dir = 1", "not valid TOML"),
        ("data_dir = 1", "data_dir:"),
        (REQUIRED + "roles = []", "roles: name at least one"),
        (REQUIRED + 'roles = ["king"]', "roles.0:"),
        (REQUIRED + "payload_bytes_max = 17000000", "payload_bytes_max:"),
        (
            REQUIRED + "post_inflight_bytes_max = 5",
            "post_inflight_bytes_max: must be at least payload_bytes_max",
        ),
        (REQUIRED + '[[tokens]]\nname = "a"', "tokens.0.sha256: Field required"),
        (REQUIRED + '[[tokens]]\nname = "a"\nsha256 = "zz"\nnamespaces = ["a"]', "tokens.0.sha256"),
        (
            REQUIRED + 2 * f'[[tokens]]\nname = "a"\nsha256 = "{"0" * 64}"\nnamespaces = ["a"]\n',
            "same sha256",
        ),
        ("=", "not valid TOML"),
        ("port = " + "9" * 5_000, "not valid TOML"),
        ("#" * (MAX_CONFIG_BYTES + 1), "is over 1048576 bytes"),
        ("port = " + "[" * 100_000, "nested deeper than 8 levels"),
        ("port = " + "[" * 8 + "]" * 8, "nested deeper than 8 levels"),
        ("port = [{" + ".".join("a" * 10_000) + " = 1}]", "nested deeper than 8 levels"),
    ],
)
def test_what_is_refused_is_named(write: Callable[[str], Path], text: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(text))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value).replace("not valid TOML", "") or "TOML" in str(caught.value)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load(tmp_path / "absent.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load(tmp_path / "binary.toml")


def test_an_unknown_variable_is_told_with_the_nearest_name() -> None:
    environ = {"DA_PORTT": "1", "DA_PORT": "1", "OTHER": "1", **dict.fromkeys(CLIENT_ENVIRONMENT, "x")}
    assert unknown_environment(environ) == ["DA_PORTT (did you mean DA_PORT?)"]


def test_every_limit_of_the_node_is_a_setting_with_the_same_default(write: Callable[[str], Path]) -> None:
    settings = load(write(REQUIRED))
    own = {field.name: field.default for field in dataclasses.fields(NodeConfig) if field.name != "disperser"}
    assert {name: getattr(settings, name) for name in own} == own
    changed = load(write(REQUIRED + 'rows_max = 3\nroles = ["disperser"]'))
    assert node_config(changed).rows_max == 3
    assert node_config(changed).disperser
    assert not node_config(settings).disperser


def test_every_setting_has_a_description_and_a_line_in_the_docs() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    token_rows = {name for name in TokenSettings.model_fields if name in rows}
    for name, field in {**Settings.model_fields, **TokenSettings.model_fields}.items():
        assert field.description, name
        assert name in rows, f"{name} is missing in {DOCS.name}"
    assert set(rows) == set(Settings.model_fields) | token_rows, "the docs name settings that do not exist"


def test_the_docs_tell_the_true_defaults() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        (row,) = re.findall(rf"^\| `{name}` \| (.+?) \| (.+) \|$", text, re.MULTILINE)
        assert row == (shown_default(field), field.description), name


def shown_default(field: Any) -> str:
    """A default as settings.md has it."""
    if field.is_required():
        return "required"
    value = field.get_default()
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return f"`{', '.join(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
