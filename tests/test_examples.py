"""Every example runs in its smoke size, and the README's code and commands do what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path) -> None:
    call = [sys.executable, "-W", "error::DeprecationWarning:sciml", str(example), "--smoke"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example says what it found"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_readme_code_runs_in_order(tmp_path: Path) -> None:
    """The commands first, since the last block of Python reads what they make."""
    program = Path(sys.executable).parent / "sciml"
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("sciml ")]
    assert len(commands) == 2
    for command in commands:
        arguments = command.replace("benchmarks/ks", str(ROOT / "benchmarks/ks")).split()[1:]
        done = subprocess.run([str(program), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks("python")))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    promised = re.findall(r"print\(.*\)  # (.*)", "\n".join(blocks("python")))
    assert len(promised) == 8
    for printed, promise in zip(done.stdout.splitlines(), promised, strict=True):
        assert promise.startswith(printed), f"the README promises {promise!r}, but the code prints {printed!r}"


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("bench", "test"):
        assert f"make {target}" in (ROOT / "README.md").read_text()
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
