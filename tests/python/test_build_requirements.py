"""The build: the torch for which it compiles, and compilers that are too old."""

from __future__ import annotations

import importlib.util
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PROVIDER = ROOT / "cmake" / "dependencies.py"


@pytest.fixture
def provider() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dependencies", PROVIDER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put_torch(folder: Path, version: str) -> Path:
    """Write the file of a torch package that states its version."""
    package = folder / "torch"
    package.mkdir(parents=True)
    text = f"__all__ = ['__version__']\n__version__ = '{version}'\ndebug = False\n"
    (package / "version.py").write_text(text, encoding="utf-8")
    return package


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the package directory of a target environment, hidden as in pip's isolated build environment."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "isolated")])
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path / "target")])
    return tmp_path / "target"


@pytest.mark.parametrize("version", ["2.10.0+cu126", "2.11.1", "2.14.0a0+git1234567"])
def test_pip_builds_for_the_torch_of_the_target_environment(provider: ModuleType, target: Path, version: str) -> None:
    """So that `pip install .` neither downloads another torch nor replaces it."""
    package = put_torch(target, version)
    assert provider.get_requires_for_dynamic_metadata({}) == []
    assert provider.find_torch() == package
    minor = re.match(r"\d+\.\d+", version)[0]
    assert provider.dynamic_metadata("dependencies")[0] == f"torch=={minor}.*"


def test_pip_installs_the_pinned_torch_if_there_is_none(provider: ModuleType, target: Path, tmp_path: Path) -> None:
    assert provider.get_requires_for_dynamic_metadata({}) == [f"torch=={provider.PINNED}"]
    put_torch(tmp_path / "isolated", provider.PINNED)  # what pip then installs
    assert provider.dynamic_metadata("dependencies")[0] == f"torch=={provider.PINNED.rpartition('.')[0]}.*"


@pytest.mark.parametrize("version", ["2.9.1+cu126", "1.13.0"])
def test_a_torch_that_is_too_old_is_not_replaced(provider: ModuleType, target: Path, version: str) -> None:
    put_torch(target, version)
    with pytest.raises(SystemExit, match=r"needs torch 2\.10 or newer") as caught:
        provider.get_requires_for_dynamic_metadata({})
    assert f"torch {version} is installed in {target}" in str(caught.value)
    assert 'pip install "torch>=2.10"' in str(caught.value)


def test_torch_is_not_a_static_build_requirement() -> None:
    """pip would install it in the isolated environment, and the build would be for that version."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    requires = re.search(r"^requires = \[.*\]$", text, re.MULTILINE)
    assert requires
    assert "torch" not in requires[0]


def test_cmake_gets_the_directory_of_torch() -> None:
    run = subprocess.run([sys.executable, str(PROVIDER)], capture_output=True, text=True, check=True)
    assert (Path(run.stdout) / "version.py").is_file()


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs cmake")
@pytest.mark.parametrize(
    ("kind", "version", "supported"),
    [("GNU", "10.5.0", False), ("GNU", "11.3.0", True), ("Clang", "13.0.1", False), ("Clang", "14.0.6", True)],
)
def test_a_compiler_that_is_too_old_is_refused_when_cmake_starts(kind: str, version: str, supported: bool) -> None:
    compiler = {"CMAKE_CXX_COMPILER": "g++-10", "CMAKE_CXX_COMPILER_ID": kind, "CMAKE_CXX_COMPILER_VERSION": version}
    options = [f"-D{name}={value}" for name, value in compiler.items()]
    command = ["cmake", *options, "-P", str(ROOT / "cmake" / "compiler.cmake")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode == 0) == supported
    if not supported:
        message = " ".join(run.stderr.split())
        assert f"needs GCC 11 or newer, or Clang 14 or newer, but g++-10 has the version {version}" in message
        assert "apt-get install g++-11 && CXX=g++-11 pip install ." in message
