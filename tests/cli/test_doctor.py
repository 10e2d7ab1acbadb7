"""`safeloop doctor`: its pins are those of requirements/, and each of its commands is complete."""

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from safeloop import doctor

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def _pinned(name):
    found = re.findall(r"^([\w.-]+)==([\w.]+)", (REQUIREMENTS / name).read_text(), re.MULTILINE)
    return {package.lower(): version for package, version in found}


def test_its_pins_are_those_of_the_requirements():
    tested = _pinned("python3.11.txt")
    assert {name.lower(): version for name, version in doctor.ORDINARY.items()}.items() <= tested.items()
    assert _pinned("no-deps.txt") == doctor.WITHOUT_DEPENDENCIES
    assert _pinned("uv.txt") == doctor.WITH_UV and _pinned("dev.txt")["uv"] == doctor.UV
    assert (tested["gymnasium"], _pinned("gymnasium1.txt")["gymnasium"]) == doctor.GYMNASIUMS


def test_what_is_declared_takes_both_tested_versions_of_gymnasium():
    declared = (REQUIREMENTS.parent / "pyproject.toml").read_text()
    accepted = Requirement(re.search(r'^ +"(gymnasium\b.*?)"', declared, re.MULTILINE)[1]).specifier
    assert all(accepted.contains(version) for version in doctor.GYMNASIUMS)
    assert not any(accepted.contains(version) for version in ("0.28.1", "1.0.0", "1.1.1", "1.2.3", "1.3.0", "1.5.0"))


@pytest.fixture
def lacking(monkeypatch):
    """Hide packages from the metadata, or show them in another version."""
    real = importlib.metadata.version

    def hide(**versions):
        def version(name):
            found = versions.get(name.replace("-", "_"), real)
            if found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found if isinstance(found, str) else real(name)

        monkeypatch.setattr(doctor.importlib.metadata, "version", version)

    return hide


def _bad(findings):
    return {f.name: f.remedy for f in findings if not f.fine}


def test_without_the_requirements_folder_commands_are_complete(monkeypatch, lacking):
    monkeypatch.setattr(doctor, "_requirements", lambda: None)
    lacking(omnisafe=None, gymnasium="1.0.0", xmltodict=None)
    bad = _bad(doctor.packages())
    assert bad["omnisafe"] == f"{sys.executable} -m pip install --no-deps omnisafe==0.5.0"
    assert bad["gymnasium"] == bad["xmltodict"]
    assert bad["gymnasium"].startswith(f"{sys.executable} -m pip install gymnasium==0.29.1 xmltodict")


def test_a_package_that_pip_refuses_is_an_extra_with_a_command_of_uv(lacking):
    uv = f"{sys.executable} -m uv pip install --python {sys.executable} --no-deps robel==0.1.2"
    for version, said in ((None, "not installed"), ("0.1.1", "0.1.1")):
        lacking(robel=version)
        [finding] = [f for f in doctor.packages() if f.name == "robel"]
        assert finding.fine
        command = f"{sys.executable} -m pip install uv=={doctor.UV} && {uv}"
        assert finding.text == f"{said}; Claw needs 0.1.2: {command}"


def test_in_a_checkout_the_command_is_the_pinned_set(lacking):
    lacking(numpy="2.4.6")
    if doctor._requirements() is None:
        pytest.skip("no pinned set for this Python in requirements/")
    assert f"-r {doctor._requirements()}" in _bad(doctor.packages())["numpy"]


def test_both_tested_versions_of_gymnasium_are_fine_and_others_are_told(lacking):
    for version in doctor.GYMNASIUMS:
        lacking(gymnasium=version)
        assert "gymnasium" not in _bad(doctor.packages())
    for version in ("0.28.1", "1.0.0"):
        lacking(gymnasium=version)
        [finding] = [f for f in doctor.packages() if f.name == "gymnasium"]
        assert not finding.fine
        assert finding.text == f"{version}, tested with {' and '.join(doctor.GYMNASIUMS)}"


def test_a_repair_keeps_the_version_of_gymnasium_that_was_chosen(lacking):
    if doctor._requirements() is None:
        pytest.skip("no pinned set for this Python in requirements/")
    keeping = f"install --no-deps -r {REQUIREMENTS / 'gymnasium1.txt'}"
    for version, kept in zip(doctor.GYMNASIUMS, (False, True), strict=True):
        lacking(gymnasium=version, xmltodict=None)
        assert _bad(doctor.packages())["xmltodict"].endswith(keeping) == kept


def test_each_plugin_is_tried(thirdparty):
    found = {f.name: f for f in doctor.plugins()}
    assert found["environments wallstop"].fine and "WallStop runs" in found["environments wallstop"].text
    assert found["algorithm cem-linear"].fine
    assert found["algorithms odd"].fine and found["algorithms odd"].text == "1 found"
    assert not found["algorithms torn"].fine


def test_the_report_names_what_is_missing_and_exits_with_1(main, monkeypatch, lacking):
    monkeypatch.setattr(doctor, "rendering", lambda: doctor.Finding("rendering", True, "works"))
    monkeypatch.setattr(doctor, "plugins", lambda: [])
    assert main("doctor")[0] == 0
    lacking(omnisafe=None)
    code, out, _ = main("doctor")
    assert code == 1 and "MISSING  omnisafe" in out and "--no-deps omnisafe==0.5.0" in out
