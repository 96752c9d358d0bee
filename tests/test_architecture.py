"""The floors of the building: imports go down only, also inside functions."""

import ast
import builtins
import dis
import subprocess
import sys
import types
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sciml"
FLOORS = [
    {"core"},
    {"paths", "grids"},
    {"integrate", "metrics", "nn"},
    {"pde", "neural_de", "ssm", "generative", "compat"},
    {"surrogates", "data"},
    {"training"},
    {"forecast"},
    {"bench"},
    {"cli"},
]
FLOOR_OF = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = [path for path in PACKAGE.rglob("*.py") if len(path.relative_to(PACKAGE).parts) > 1]


def rooms_imported(file: Path) -> set[str]:
    """Rooms of `sciml` that `file` imports anywhere, also inside functions."""
    here = ("sciml", *file.relative_to(PACKAGE).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            names |= {(*base, alias.name) for alias in node.names}
    return {name[1] for name in names if name[0] == "sciml" and len(name) > 1}


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_lower_floors(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0]
    for other in rooms_imported(file) - {room}:
        assert FLOOR_OF[other] < FLOOR_OF[room], f"{room} may not import {other}"


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_training_imports_lightning(file: Path) -> None:
    imports_lightning = any(
        isinstance(node, ast.Import | ast.ImportFrom)
        and any(
            name.split(".")[0] in ("lightning", "pytorch_lightning")
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        )
        for node in ast.walk(ast.parse(file.read_text()))
    )
    assert not imports_lightning or file.relative_to(PACKAGE).parts[0] == "training"


def test_import_is_lazy() -> None:
    code = "import sys, sciml; assert 'torch' not in sys.modules; sciml.solve; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_attribute_is_an_attribute_error() -> None:
    import sciml

    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        sciml.nonsense  # noqa: B018


@pytest.mark.parametrize("folder", ["datasets", "benchmarks", "examples"])
def test_top_level_folders_shadow_no_package(folder: str) -> None:
    assert not list((PACKAGE.parent / folder).rglob("__init__.py"))


def global_names(code: types.CodeType) -> set[str]:
    """Names that a piece of code, and the functions in it, look up in their module."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(global_names(part) for part in code.co_consts if isinstance(part, types.CodeType)))


def own_names(code: types.CodeType) -> set[str]:
    """Names that a module and the classes in it bind."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("STORE_NAME", "STORE_GLOBAL", "DELETE_NAME")}
    return names.union(*(own_names(part) for part in code.co_consts if isinstance(part, types.CodeType)))


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_names_exist(file: Path) -> None:
    """The linters cannot tell: shape strings in annotations look like names to them."""
    code = compile(file.read_text(), str(file), "exec")
    known = (
        own_names(code) | set(dir(builtins)) | {"__name__", "__file__", "__annotations__", "__qualname__", "__module__"}
    )
    assert not global_names(code) - known
