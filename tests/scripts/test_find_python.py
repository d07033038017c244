"""scripts/find_python.sh against a PATH of fakes: it must run each candidate, whatever the PATH promises."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "find_python.sh"
PYENV_SHIM = 'echo "pyenv: $0: command not found" >&2; exit 127'
BROKEN = "exit 0"  # runs, and prints nothing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH directory: nothing but the shell's own commands works there."""
    folder = tmp_path / "with a space"
    folder.mkdir()
    return folder


def fake(path: Path, name: str, body: str) -> None:
    program = path / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def python(path: Path, name: str, version: tuple[int, int], missing: str = "") -> None:
    """An interpreter that believes itself of `version`, names itself, and lacks the module `missing`."""
    before = (
        f"import sys; sys.version_info = (*{version}, 0, 'final', 0); sys.executable = '{path / name}'; "
        + (f"sys.modules['{missing}'] = None; " if missing else "")
        + "exec(sys.argv[1])"
    )
    fake(path, name, f'exec {sys.executable} -c "{before}" "$2"')


def environment(path: Path) -> dict[str, str]:
    """Ours with `path` first, without what an outer `make test PYTHON=...` hands down."""
    from_make = ("MAKE", "MFLAGS", "GNUMAKE", "PYTHON", "VENV")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(from_make)}
    return {**ours, "PATH": f"{path}:{os.environ['PATH']}"}


def find(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), *arguments],
        env={"PATH": str(path)},
        text=True,
        capture_output=True,
        check=False,
    )


def test_a_shim_without_its_version_is_passed_over(path: Path):
    fake(path, "python3.12", PYENV_SHIM)
    fake(path, "python3.11", PYENV_SHIM)
    python(path, "python3.13", (3, 13))
    found = find(path)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{path / 'python3.13'}\n", "")


@pytest.mark.parametrize(
    ("installed", "taken"),
    [
        (["python3.11", "python3.12", "python3.13", "python3.14", "python3"], "python3.12"),
        (["python3.11", "python3.13", "python3"], "python3.11"),
        (["python3.13", "python3.14", "python3"], "python3.13"),
        (["python3.14", "python3"], "python3.14"),
    ],
)
def test_versions_with_wheels_of_blspy_come_first(path: Path, installed: list[str], taken: str):
    for name in installed:
        minor = int(name.partition(".")[2] or 14)
        python(path, name, (3, minor))
    assert find(path).stdout == f"{path / taken}\n"


def test_python3_is_taken_only_at_a_version_that_is_supported(path: Path):
    python(path, "python3", (3, 10))
    refused = find(path)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "python3: is Python 3.10" in refused.stderr
    python(path, "python", (3, 14))
    assert find(path).stdout == f"{path / 'python'}\n"
    python(path, "python", (3, 15))
    assert find(path).returncode == 1


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_one_that_makes_no_environments_is_passed_over(path: Path, missing: str):
    python(path, "python3.12", (3, 12), missing)
    refused = find(path)
    assert refused.returncode == 1
    assert "apt-get install python3-venv" in refused.stderr
    python(path, "python3.11", (3, 11))
    assert find(path).stdout == f"{path / 'python3.11'}\n"


def test_one_that_prints_no_path_is_passed_over(path: Path):
    fake(path, "python3.12", BROKEN)
    refused = find(path)
    assert refused.returncode == 1
    assert "python3.12: does not run" in refused.stderr


def test_what_an_interpreter_says_on_standard_error_does_no_harm(path: Path):
    fake(path, "python3.12", f'echo "a warning" >&2; exec {sys.executable} "$@"')
    assert Path(find(path).stdout.rstrip("\n")).name.startswith("python")


def test_a_named_one_is_the_only_candidate(path: Path):
    python(path, "python3.12", (3, 12))
    python(path, "python3.13", (3, 13))
    assert find(path, "python3.13").stdout == f"{path / 'python3.13'}\n"
    assert find(path, str(path / "python3.13")).stdout == f"{path / 'python3.13'}\n"
    refused = find(path, "python3.14")
    assert refused.returncode == 1
    assert "python3.14: not found" in refused.stderr
    assert "python3.12" not in refused.stderr


def test_the_makefile_and_the_check_of_a_fresh_clone_ask_this_script_alone():
    for name in ("Makefile", ".ci/run"):
        text = (ROOT / name).read_text()
        assert "scripts/find_python.sh" in text
        assert "python3." not in text, f"{name} looks for interpreters by itself"


@pytest.mark.parametrize("arguments", [[], ["PYTHON=python3.13"]])
def test_make_builds_with_the_one_that_was_found(path: Path, tmp_path: Path, arguments: list[str]):
    fake(path, "python3.12", PYENV_SHIM)
    fake(path, "python3.11", PYENV_SHIM)
    fake(path, "python3.13", f'[ "$1" = -m ] && echo "ran $0 $*" && exit 9; echo "{path}/python3.13"')
    venv = tmp_path / "venv"
    made = subprocess.run(
        ["make", "-C", str(ROOT), f"VENV={venv}", f"{venv}/.installed", *arguments],
        env=environment(path),
        text=True,
        capture_output=True,
        check=False,
    )
    assert made.returncode != 0
    assert f"ran {path / 'python3.13'} -m venv {venv}\n" in made.stdout


def test_make_says_what_it_installs_and_pip_its_progress_in_a_terminal(path: Path, tmp_path: Path):
    environment_python = path / "python-of-the-environment"
    fake(path, environment_python.name, 'echo "ran $*"')
    make_environment = f'mkdir -p "$3/bin"; ln -s "{environment_python}" "$3/bin/python"'
    fake(path, "python3.12", f'[ "$1" = -m ] || exec echo {path}/python3.12; {make_environment}')

    def make(venv: Path, output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["make", "-C", str(ROOT), f"VENV={venv}", f"{venv}/.installed"],
            env=environment(path),
            stdout=output,
        )

    with make(tmp_path / "a", subprocess.PIPE) as piped:
        assert piped.stdout is not None
        log = piped.stdout.read().decode()
    assert re.search(r"== 1/2 Making the virtual environment .* \(10 seconds\)", log)
    assert re.search(r"== 2/2 Installing .* \(.* minutes; .* MB\)", log)
    assert "pip install --disable-pip-version-check --quiet -e .[settlement]" in log

    ours, theirs = pty.openpty()
    with make(tmp_path / "b", theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's end, on Linux
            while more := os.read(ours, 4096):
                shown += more
    os.close(ours)
    assert b"pip install --disable-pip-version-check -e .[settlement]" in shown


def test_make_says_why_it_does_not_take_the_one_that_is_named(path: Path, tmp_path: Path):
    made = subprocess.run(
        ["make", "-C", str(ROOT), f"VENV={tmp_path}", f"{tmp_path}/.installed", f"PYTHON={path}/none"],
        env=environment(path),
        text=True,
        capture_output=True,
        check=False,
    )
    assert made.returncode != 0
    assert f"{path}/none: not found" in made.stderr
