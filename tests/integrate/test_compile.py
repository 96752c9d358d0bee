"""compile=True, in a process without the jaxtyping hook: decorated functions cannot be compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("compiled_checks.py")


def run(folder: Path, marker: str) -> None:
    """Run the checks with nothing compiled before."""
    command = [sys.executable, "-m", "pytest", str(CHECKS), "-q", "-p", "no:cacheprovider", "--durations=0"]
    command += ["--show-capture=no", "-o", "addopts=--strict-markers", "-W", "default", "-m", marker]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=CHECKS.parents[2])
    print(done.stdout[-8000:])
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_without_the_hook(tmp_path):
    run(tmp_path, "not slow")


@pytest.mark.slow
def test_more_without_the_hook(tmp_path):
    run(tmp_path, "slow")
