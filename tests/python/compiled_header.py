"""Compilation of an exported C header, and its outputs for images."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Werror")
STRICT = ("-std=c99", *WARNINGS)
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]

# Reads images from stdin, and writes their outputs to stdout. The pixels and the outputs are in arrays of their exact
# sizes, so that the sanitizers find any access beyond them. gcc does not optimize the loops of main, which runs once:
# the prediction is in a function of its own.
MAIN = """
#include <stdio.h>
#include "{file}"

void predict_all(void);

void predict_all(void) {{
  uint8_t image[{pixels}];
  float out[{outputs}];
  while (fread(image, 1, sizeof image, stdin) == sizeof image) {{
    {prefix}_predict(image, out);
    fwrite(out, sizeof *out, {outputs}, stdout);
  }}
}}

int main(void) {{
  predict_all();
  return 0;
}}
"""


def build(header: Path, pixels: int, outputs: int, *options: str, compiler: str = "", suffix: str = "c") -> Path:
    """Compile a program that runs the header, and return it. Default compiler: the first that is installed."""
    compiler = compiler or COMPILERS[0]
    source = header.with_name(f"main.{suffix}")
    source.write_text(MAIN.format(file=header.name, prefix=header.stem, pixels=pixels, outputs=outputs))
    program = header.with_name(f"{header.stem}_{compiler}")
    command = [compiler, *options, str(source), "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def outputs_of(program: Path, images: Any) -> Any:
    """Return the outputs of the program for images, u8 [N, C, H, W], as f32 [N, outputs]."""
    done = subprocess.run([program], input=images.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, np.float32).reshape(len(images), -1)
