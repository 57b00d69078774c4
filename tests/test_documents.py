"""Documents, configs and deployment files say what is true, as far as that can be checked without running them."""

import ast
import json
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import distprop
from distprop.config import load_job
from tests.blocks import ROOT, Block, blocks

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
COMPOSE = YAML(typ="safe", pure=True).load(ROOT / "docker-compose.yml")
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def of_language(language: str) -> list[Block]:
    return [block for file in DOCUMENTS for block in blocks(file) if block.language == language]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads(config: Path):
    assert load_job(config).name


@pytest.mark.parametrize("block", of_language("yaml"), ids=str)
def test_every_yaml_example_is_a_whole_job(block: Block, tmp_path: Path):
    (tmp_path / "job.yaml").write_text(block.text)
    assert load_job(tmp_path / "job.yaml").data.target


@pytest.mark.parametrize("block", of_language("python"), ids=str)
def test_every_python_example_uses_public_names_only(block: Block):
    compile(block.text, str(block), "exec")
    assert set(re.findall(r"\bdp\.(\w+)", block.text)) <= set(distprop.__all__)


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(file: Path):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text())
    missing = [link for link in links if "://" not in link and not (file.parent / link).exists()]
    assert not missing


def test_every_page_is_reached_from_its_index():
    for folder in (ROOT / "docs", ROOT / "docs/decisions", ROOT / "docs/applications"):
        index = (folder / "index.md").read_text()
        assert [page.name for page in folder.glob("*.md") if f"({page.name})" not in index] == ["index.md"]


def test_every_path_in_the_readmes_table_is_there():
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if re.match(r"\| [`\[]", line)]
    assert len(rows) >= 8
    for row in rows:
        named = re.findall(r"`(distprop/)?(\w+)`", row.split("|")[1])
        assert all((ROOT / "distprop" / name).exists() for _, name in named), row


def test_the_changelog_has_the_version_or_is_still_to_be_released():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{distprop.__version__}]" in text or "## [Unreleased]" in text


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == distprop.__version__


# ---- containers -----------------------------------------------------------------------------------------------------


def test_the_compose_file_follows_the_specification():
    """The schema is that of the Compose specification, from docker-compose 1.29 (Apache-2.0)."""
    jsonschema = pytest.importorskip("jsonschema", reason="it checks the schema, and is not installed")
    schema = json.loads((ROOT / "tests/vendored/compose_spec.json").read_text())
    jsonschema.Draft201909Validator(schema).validate(COMPOSE)


def test_every_volume_and_dependency_of_a_service_is_declared():
    for service in COMPOSE["services"].values():
        sources = [volume.split(":")[0] for volume in service["volumes"] if not volume.startswith("$")]
        assert set(sources) <= COMPOSE["volumes"].keys()
        assert set(service.get("depends_on", ())) <= COMPOSE["services"].keys()


def test_ports_are_published_on_this_machine_only():
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_ray_nodes_have_shared_memory_and_the_token():
    for name in ("ray-head", "ray-worker"):
        service = COMPOSE["services"][name]
        assert service["shm_size"] == "2gb"
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"]["RAY_AUTH_TOKEN_PATH"].startswith("/token/")
        assert any(volume.startswith("token:/token") for volume in service["volumes"])


def test_the_tracking_server_knows_the_name_by_which_it_is_called():
    words = shlex.split(COMPOSE["services"]["mlflow"]["command"])
    allowed = words[words.index("--allowed-hosts") + 1].split(",")
    assert COMPOSE["services"]["ray-head"]["environment"]["MLFLOW_TRACKING_URI"].removeprefix("http://") in allowed


def source_of(package: str, *names: str) -> ast.Module:
    """The first of these files that an installed package has, read without loading it: that takes seconds."""
    found = find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"the command that is looked at comes with {package}, which is not installed")
    files = [Path(found.origin).parent / name for name in names]
    return ast.parse(next(file for file in files if file.exists()).read_text())


def options_of(decorators: list[ast.expr], shared: dict[str, ast.expr]) -> set[str]:
    """The options that click's decorators declare; those that are made elsewhere are looked up by their name."""
    made = [shared.get(one.attr, one) if isinstance(one, ast.Attribute) else one for one in decorators]
    words = [word for call in made if isinstance(call, ast.Call) for word in call.args]
    return {
        option
        for word in words
        if isinstance(word, ast.Constant) and str(word.value).startswith("-")
        for option in str(word.value).split("/")
    }


@pytest.mark.parametrize(
    ("service", "files", "shared"),
    [
        ("mlflow", ("cli/__init__.py", "cli.py"), "utils/cli_args.py"),
        ("ray-head", ("scripts/scripts.py",), None),
        ("ray-worker", ("scripts/scripts.py",), None),
    ],
)
def test_the_servers_know_the_options_they_are_started_with(service: str, files: tuple[str, ...], shared: str | None):
    package, name, *words = shlex.split(COMPOSE["services"][service]["command"])
    elsewhere = {
        target.id: one.value
        for one in (source_of(package, shared).body if shared else ())
        if isinstance(one, ast.Assign) and isinstance(target := one.targets[0], ast.Name)
    }
    commands = {one.name: one for one in source_of(package, *files).body if isinstance(one, ast.FunctionDef)}
    known = options_of(commands[name].decorator_list, elsewhere)
    asked = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert asked
    assert asked <= known


def test_the_image_copies_what_is_there_and_does_not_run_as_root():
    copied = [
        line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY") and "--from" not in line
    ]
    assert all((ROOT / path).exists() for paths in copied for path in paths)
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE) == ["distprop"]


def test_the_images_python_is_supported():
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    version = re.findall(r"^FROM python:([\d.]+)-slim", DOCKERFILE, re.MULTILINE)
    assert len(set(version)) == 1
    assert f"Programming Language :: Python :: {version[0]}" in supported
