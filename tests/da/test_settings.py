"""Settings of a node: sources, refusals, and their description in the docs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from da.settings import (
    CLIENT_ENVIRONMENT,
    MAX_CONFIG_BYTES,
    MOVED,
    Settings,
    SettingsError,
    TokenConfig,
    load,
    sections,
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
    path = write(REQUIRED + "[http]\nport = 1\nkeep_alive_s = 1\n[disperser]\nrows_max = 1\n")
    monkeypatch.setenv("DA_HTTP__PORT", "2")
    monkeypatch.setenv("da_disperser__rows_max", "2")
    settings = load(path, {"http.port": 3, "disperser.rows_max": None})
    assert (settings.http.keep_alive_s, settings.disperser.rows_max, settings.http.port) == (1, 2, 3)


def test_every_flat_key_is_refused_with_its_new_name(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for old, new in MOVED.items():
        section, _, field = new.partition(".")
        with pytest.raises(SettingsError) as caught:
            load(write(f"{REQUIRED}{old} = 1"))
        assert f'"{old}" (it is now {new}: set {field} in the table [{section}])' in str(caught.value)
        monkeypatch.setenv(f"DA_{old.upper()}", "1")
        with pytest.raises(SettingsError, match=f"set DA_{section.upper()}__{field.upper()}"):
            load(write(REQUIRED))
        monkeypatch.delenv(f"DA_{old.upper()}")


def test_each_section_field_can_come_from_the_environment(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(REQUIRED)
    for name, section in sections().items():
        for field in section.model_fields:
            default = getattr(getattr(load(path), name), field)
            if isinstance(default, bool) or not isinstance(default, int | float):
                continue
            monkeypatch.setenv(f"DA_{name}__{field}".upper(), str(default))
            assert getattr(getattr(load(path), name), field) == default


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
        settings.http.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('dat_dir = "x"', 'unknown setting "dat_dir" (did you mean "data_dir"?)'),
        ("zzzzzz = 1", 'unknown setting "zzzzzz"'),
        ("[tokenz]\nx = 1", 'did you mean "tokens"?'),
        ("[http]\nprot = 1", 'unknown setting "http.prot" (did you mean "http.port"?)'),
        (REQUIRED + "http = 5", "http:"),
        ("", "data_dir: required"),
        (
            REQUIRED + "[http]\nport = 70000",
            "http.port: Input should be less than or equal to 65535 (got 70000)",
        ),
        (REQUIRED + '[http]\nport = "x"', "http.port:"),
        (REQUIRED + "[http]\nport = [1]", "http.port:"),
        (REQUIRED + "data_dir = 1", "not valid TOML"),
        ("data_dir = 1", "data_dir:"),
        (REQUIRED + "roles = []", "roles: must name at least one"),
        (REQUIRED + 'roles = ["king"]', "roles.0:"),
        (REQUIRED + "[disperser]\npayload_bytes_max = 17000000", "disperser.payload_bytes_max:"),
        (
            REQUIRED + "[http]\npost_inflight_bytes_max = 5",
            "http.post_inflight_bytes_max: must be at least twice disperser.payload_bytes_max",
        ),
        (REQUIRED + '[[tokens]]\nname = "a"', "tokens.0.sha256: Field required"),
        (REQUIRED + '[[tokens]]\nname = "a"\nsha256 = "zz"\nnamespaces = ["a"]', "tokens.0.sha256"),
        (
            REQUIRED + 2 * f'[[tokens]]\nname = "a"\nsha256 = "{"0" * 64}"\nnamespaces = ["a"]\n',
            "same sha256",
        ),
        ("=", "not valid TOML"),
        ("port = " + "9" * 5_000, "not valid TOML"),
        ("#" * (MAX_CONFIG_BYTES + 1), "larger than 1048576 bytes"),
        ("port = " + "[" * 100_000, "nested deeper than 8 levels"),
        ("port = " + "[" * 8 + "]" * 8, "nested deeper than 8 levels"),
        ("port = [{" + ".".join("a" * 10_000) + " = 1}]", "nested deeper than 8 levels"),
    ],
)
def test_invalid_settings_are_named(write: Callable[[str], Path], text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(text))
    assert message in str(caught.value)
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
    environ = {
        "DA_HTTP__PORTT": "1",
        "DA_HTTP__PORT": "1",
        "OTHER": "1",
        **dict.fromkeys(CLIENT_ENVIRONMENT, "x"),
    }
    assert unknown_environment(environ) == ["DA_HTTP__PORTT (did you mean DA_HTTP__PORT?)"]


def test_a_node_takes_the_sections_as_they_are(write: Callable[[str], Path]) -> None:
    settings = load(write(REQUIRED + 'roles = ["disperser"]\n[disperser]\nrows_max = 3'))
    assert settings.node.disperser is settings.disperser
    assert settings.node.disperser.rows_max == 3
    assert settings.node.disperses
    assert not load(write(REQUIRED)).node.disperses


def test_no_field_is_typed_twice() -> None:
    owners: dict[str, str] = {}
    for name, section in sections().items():
        for field in section.model_fields:
            assert field not in Settings.model_fields, field
            if field not in ("name", "level", "format"):
                assert owners.setdefault(field, name) == name, field


def all_fields() -> dict[str, Any]:
    """Every setting by its dotted name, tokens' fields among them."""
    fields = {name: field for name, field in Settings.model_fields.items() if name not in sections()}
    for name, section in {**sections(), "tokens": TokenConfig}.items():
        fields |= {f"{name}.{inner}": field for inner, field in section.model_fields.items()}
    return fields


def test_the_docs_have_every_setting_with_its_true_default() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.+ \| .+) \|$", text, re.MULTILINE))
    expected = {name: f"{shown_default(field)} | {field.description}" for name, field in all_fields().items()}
    assert rows == expected


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
