"""Template of a project for the assignment: `create_project` writes its files."""

from __future__ import annotations

from pathlib import Path

from mnistcnn._internal.atomic_files import write_whole

TEMPLATES = Path(__file__).parent / "templates"
# Path in the project -> name of the template
_FILES = {
    "model.py": "model.py",
    "train.py": "train.py",
    "assignment.ipynb": "assignment.ipynb",
    ".github/workflows/check.yml": "check.yml",
    ".gitignore": "gitignore",
}


def create_project(folder: Path) -> list[Path]:
    """Write the files of a project to a directory, which is created. Return their paths.

    Raise FileExistsError if one of the files exists; then nothing is written. Raise NotADirectoryError if ``folder`` is
    a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; pass the path of a new directory")
    paths = {folder / path: TEMPLATES / template for path, template in _FILES.items()}
    existing = [str(path) for path in paths if path.exists()]
    if existing:
        raise FileExistsError(f"{', '.join(existing)} must not exist; give another directory")
    for path, template in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, template.read_bytes())
    return list(paths)
