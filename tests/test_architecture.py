"""The architecture document: which room may import what. Imports point down only, and never in a circle."""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "distprop"

MAY_IMPORT = {  # room: what it may import, of ours and of others
    # what everybody may know
    "errors": "",
    "suggest": "",
    "standard_streams": "",
    "system_errors": "errors",
    "philox": "numpy",
    "digest": "numpy",
    "events": "errors",
    "report": "events",
    "files": "system_errors pyarrow",
    "importing": "errors",
    "trust": "errors importing",
    # arrays, vectors, Parquet: they never meet
    "nn": "errors importing loops philox suggest numpy",
    "loops": "numpy",
    "optim": "errors loops suggest numpy",
    "data": "errors philox suggest system_errors numpy pyarrow sklearn PIL",
    # who does what when: pure state machines
    "protocol": "",
    # what the bits depend on
    "numerics": "errors philox suggest nn optim numpy threadpoolctl",
    # what training reads and leaves behind
    "config": "errors importing suggest pydantic pydantic_core ruamel",
    "manifest": "",
    "checkpoint": "digest errors files manifest numpy safetensors",
    "model": "version checkpoint data digest errors manifest nn system_errors trust numpy safetensors",
    # carries the messages and performs the effects
    "runtime": "checkpoint data errors events importing loops nn numerics optim protocol cryptography numpy ray",
    # listens: it never meets what runs
    "tracking": "version errors events flavor mlflow matplotlib",
    "flavor": "version data model pyfunc_loader source_archive tracking numpy pandas mlflow",
    "pyfunc_loader": "flavor",  # of itself it reads nothing: its copy beside a model stands alone
    "source_archive": "",
    "installation": "",
    # puts the rooms together
    "training": "checkpoint config data errors events files loops model nn numerics philox protocol report "
    "runtime suggest system_errors tracking trust numpy",
    # what a person sees
    "console": "events report standard_streams rich",
    "cli": "version config console data errors model nn numerics report standard_streams suggest system_errors "
    "tracking training "
    "click numpy pyarrow ruamel",
    "__main__": "cli",
    "door": "config errors events installation model report training",  # distprop/__init__.py
}

ONLY_IN = {  # package of others: the files that may import it
    "ray": ("runtime/ray/",),
    "mlflow": ("tracking/", "flavor.py"),
    "cryptography": ("runtime/wire/certificate.py",),
    "threadpoolctl": ("numerics/",),
    "pydantic": ("config/",),
    "click": ("cli/",),
    "rich": ("console.py",),
    "matplotlib": ("tracking/",),
    "pandas": ("flavor.py",),
}

SILENT = {  # what a state machine has no use for: no files, clock, chance, threads
    "asyncio", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid",
}  # fmt: skip

RUNS_WHAT_IT_READS = {"pickle", "marshal", "shelve", "cloudpickle", "dill", "joblib", "multiprocessing"}

FILES = [str(file.relative_to(HOUSE)) for file in sorted(HOUSE.rglob("*.py"))]
MODULES = {".".join(Path("distprop", name).with_suffix("").parts).removesuffix(".__init__") for name in FILES}


@cache
def trees() -> dict[str, ast.Module]:
    """The files, read when they are looked at: tests are collected in every process, and run in one."""
    return {name: ast.parse((HOUSE / name).read_text()) for name in FILES}


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The dotted names that these nodes import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imports() -> dict[str, frozenset[str]]:
    """What each file imports, anywhere in it."""
    return {name: frozenset(imported(ast.walk(tree))) for name, tree in trees().items()}


def at_the_top(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run when a module is loaded: not those in functions or for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not typing_only:
            yield node
            yield from at_the_top(node)


def room(dotted: str) -> str:
    """Which room of MAY_IMPORT a dotted name belongs to; "" for the standard library."""
    first, _, rest = dotted.partition(".")
    if first != "distprop":
        return "" if first in sys.stdlib_module_names else first
    name = rest.partition(".")[0]
    return {"__version__": "version", "": "door", "__init__": "door"}.get(name, name)


def room_of_file(name: str) -> str:
    return room("distprop." + name.removesuffix(".py").replace("/", "."))


@pytest.mark.parametrize("name", sorted({room_of_file(name) for name in FILES}))
def test_a_room_imports_what_it_may(name: str) -> None:
    assert name in MAY_IMPORT, "a new room needs a line in MAY_IMPORT"
    found = {
        f"{file} imports {used}"
        for file, names in imports().items()
        if room_of_file(file) == name
        for used in map(room, names)
        if used not in {*MAY_IMPORT[name].split(), name, ""}
    }
    assert found == set()


def test_the_document_permits_nothing_that_nobody_needs() -> None:
    used: dict[str, set[str]] = {name: set() for name in MAY_IMPORT}
    for file, names in imports().items():
        used[room_of_file(file)].update(map(room, names))
    idle = {name: set(allowed.split()) - used[name] for name, allowed in MAY_IMPORT.items()}
    assert {name: rest for name, rest in idle.items() if rest} == {}


@pytest.mark.parametrize("package", sorted(ONLY_IN))
def test_a_package_of_others_stays_in_its_place(package: str) -> None:
    importers = {file for file, names in imports().items() if package in map(room, names)}
    assert {file for file in importers if not file.startswith(ONLY_IN[package])} == set()


def test_rooms_that_must_not_meet_do_not() -> None:
    for group in ({"nn", "optim", "data"}, {"runtime", "tracking"}, {"protocol", "nn", "optim", "data"}):
        for name in group:
            assert not (group - {name}) & set(MAY_IMPORT[name].split()), f"{name} meets one of {group}"


def test_what_comes_from_a_socket_is_not_unpickled() -> None:
    """Whoever can send a pickle can have anything run."""
    rooms = ("runtime/wire/", "runtime/process/", "protocol/")
    found = {
        f"{file} imports {used}"
        for file, names in imports().items()
        if file.startswith(rooms)
        for used in names
        if used.partition(".")[0] in RUNS_WHAT_IT_READS
    }
    assert found == set()
    assert any(file.startswith(rooms[1]) for file in imports())


def test_state_machines_do_nothing_but_think() -> None:
    found = {
        f"{file} imports {used}"
        for file, names in imports().items()
        if file.startswith("protocol/")
        for used in names
        if used.partition(".")[0] in SILENT
    }
    assert found == set()


def edges() -> dict[str, set[str]]:
    """module -> the modules that loading it loads."""
    graph: dict[str, set[str]] = {}
    for file, tree in trees().items():
        here = ".".join(Path("distprop", file).with_suffix("").parts).removesuffix(".__init__")
        there = {_module(name) for name in imported(at_the_top(tree)) if name.startswith("distprop")}
        graph[here] = there - {here, "distprop"}
    return graph


def _module(dotted: str) -> str:
    """The module that a name is, or is in."""
    while dotted not in MODULES:
        dotted = dotted.rpartition(".")[0]
    return dotted


def test_modules_do_not_import_in_circles() -> None:
    try:
        TopologicalSorter(edges()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_search_for_circles_finds_one() -> None:
    graph = edges()
    graph["distprop.errors"] = {"distprop.training.running"}
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_all_of_the_house_is_looked_at() -> None:
    assert {"distprop", "distprop.cli.main", "distprop.protocol.server", "distprop.runtime.inline"} <= MODULES
