"""The folders are the architecture: who imports whom, how long a module is, who holds no client."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "benchmarks")
MODULES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
MOST_LINES = 300

ARROWS: dict[str, set[str]] = {
    "models": set(),
    "service": set(),
    "transforms": {"models", "service"},
    "io": {"models", "service"},
    "runners": {"io", "models", "service"},
    "beam_pipeline": {"transforms", "io", "runners", "models", "service"},
    "audit": {"transforms", "io", "models", "service"},
    "bridge": {"io", "models", "service"},
    "simulator": {"io", "models", "service"},
    "certgen": {"io", "models", "service"},
    "dead_letters": {"transforms", "io", "models", "service"},
    "stack": {"service"},
    "cli": {*FOLDERS},
}
CLIENTS = {"apache_beam", "confluent_kafka", "fastapi", "paho", "psycopg2", "redis", "requests", "uvicorn"}


def imports(path: Path) -> list[str]:
    """The modules that a file names, also those inside functions."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def ours(path: Path) -> set[str]:
    return {parts[1] for name in imports(path) if (parts := name.split("."))[0] == "faces2" and len(parts) > 1}


def test_every_folder_has_its_arrows() -> None:
    assert sorted(ARROWS) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_arrows_point_one_way(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert ours(path) - {folder} <= ARROWS[folder], path.relative_to(ROOT)


@pytest.mark.parametrize(("folder", "clients"), [("models", CLIENTS), ("transforms", CLIENTS - {"apache_beam"})])
def test_models_and_transforms_hold_no_client(folder: str, clients: set[str]) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & clients, path.relative_to(ROOT)


@pytest.mark.parametrize(
    "folder", ["models", "transforms", "io", "bridge", "certgen", "dead_letters", "simulator", "runners"]
)
def test_only_the_settings_read_the_environment(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        reads = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert "getenv" not in reads, path.relative_to(ROOT)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_holds_one_idea_and_says_which(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    assert not text or ast.get_docstring(ast.parse(text))
