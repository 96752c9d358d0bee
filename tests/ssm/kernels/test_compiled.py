"""Kernels inside compiled code, in a process without the jaxtyping hook."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("compiled_checks.py")


@pytest.mark.slow
def test_without_the_hook(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", str(CHECKS), "-q", "-p", "no:cacheprovider"]
    command += ["-o", "addopts=--strict-markers", "-W", "default"]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=CHECKS.parents[3])
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
