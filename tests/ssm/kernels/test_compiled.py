"""Kernels and layers inside compiled code, in a process without the jaxtyping hook."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("compiled_checks.py")
LAYERS = Path(__file__).parents[1] / "compiled_layers.py"


@pytest.mark.slow
@pytest.mark.parametrize("checks", [CHECKS, LAYERS], ids=lambda path: path.stem)
def test_without_the_hook(tmp_path: Path, checks: Path) -> None:
    command = [sys.executable, "-m", "pytest", str(checks), "-q", "-p", "no:cacheprovider"]
    command += ["-o", "addopts=--strict-markers", "-W", "default"]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=CHECKS.parents[3])
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
