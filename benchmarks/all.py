"""Run all benchmarks and write their tables in Markdown to benchmarks/results. Takes about 25 minutes on two cores.

    python benchmarks/all.py            # all except gpu
    python benchmarks/all.py epoch gpu  # only these

If a command fails, its table is left unchanged. Run it on an idle machine; each table states the load by other
processes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = [sys.executable]


def _script(name: str, *options: str) -> list[str]:
    return [*PYTHON, str(HERE / f"{name}.py"), *options]


# Networks that epoch.py measures with torch.compile too, which takes a minute each.
COMPILED = ("session7_net", "assignment7_model2", "era5_net", "recognition_cnn")
# Name of each table, and the commands that print it.
TABLES: dict[str, list[list[str]]] = {
    "epoch": [_script("epoch", "--networks", "all", "--threads", "2", "--seconds", "12", "--compile", *COMPILED)],
    "instruction_sets": [_script("epoch", "--isa", "all", "--threads", "1", "--compile")],
    "predict": [_script("predict", "--seconds", "3")],
    "export": [_script("export")],
    "user_loop": [_script("user_loop")],
    "time_to_accuracy": [_script("time_to_accuracy")],
    "loader": [_script("loader")],
    "competitor": [_script("competitor")],
    "profile": [
        [*PYTHON, "-m", "mnistcnn", "profile", name, "--seconds", "3"]
        for name in ("session7_net", "assignment7_model2", "recognition_cnn")
    ],
    "memory": [_script("memory")],
    "scaling": [_script("scaling")],
    "gpu": [_script("gpu")],
}
ON_REQUEST = ("gpu",)  # needs a GPU


def make(name: str) -> bool:
    """Run the commands of one table and write their output; return whether all succeeded."""
    begin = time.monotonic()
    print(f"{name} ...", file=sys.stderr, flush=True)
    parts = []
    for command in TABLES[name]:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            print(f"{name}: {' '.join(command)} failed", file=sys.stderr)
            return False
        parts.append(f"```\n{done.stdout.strip()}\n```\n" if "-m" in command else done.stdout)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.md").write_text("\n".join(parts), encoding="utf-8")
    print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help=f"any of {', '.join(TABLES)}; default: all except gpu"
    )
    wanted = parser.parse_args().tables or [name for name in TABLES if name not in ON_REQUEST]
    unknown = sorted(set(wanted) - set(TABLES))
    if unknown:
        parser.error(f"there is no table {', '.join(unknown)}; choose from {', '.join(TABLES)}")
    made = [make(name) for name in wanted]
    sys.exit(0 if all(made) else 1)


if __name__ == "__main__":
    main()
