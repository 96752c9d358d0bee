"""Kill a dask simulation with SIGKILL at random moments, and compare what it ends with to an undisturbed one.

Files are made one after the other, netCDF4 and Zarr in turn, by a process that has its blocks solved by a standing
dask scheduler's workers, or (`--local`) by workers of its own. At a random moment the process, or one of the workers,
is killed: a worker's death the run has to survive, after its own it is started again. The process is watched by its
files alone. Most moments are drawn by the count of finished blocks: a random number of blocks more, and a random part
of a block's time; the others fall before the first block, and into the assembling and naming of the result.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch

from sciml.data import AbstractCompute, Recipe, Scheduler, Serial, Workers, content_digest, produce, verify
from sciml.grids import Grid
from sciml.pde import KuramotoSivashinsky, TruncatedFourier, Uniform

RESULTS = Path(__file__).parent / "results"
RECIPE = Recipe(
    KuramotoSivashinsky(),
    Grid((256,), (64.0,)),
    TruncatedFourier(8),
    trajectories=63,  # 32 blocks, the last one smaller
    frames=48,
    dt_frame=0.8,
    dt=0.025,
    spin_up=20.0,
    seed=6,
    parameters={"viscosity": Uniform(0.9, 1.1)},
    block=2,
)
BLOCK_SECONDS = 0.8


@dataclass(frozen=True)
class Kill:
    """What was killed in which phase."""

    file: str
    victim: str
    phase: str
    finished_blocks: int


def phase(out: Path) -> tuple[str, int]:
    """What the files say is being done, and how many blocks are finished."""
    parts = out.with_name(out.name + ".parts")
    with contextlib.suppress(FileNotFoundError):
        names = {path.name for path in parts.iterdir()} if parts.exists() else set()
        done = sum(name.endswith(".sha256") for name in names)
        if out.exists():
            return "tidying up" if names else "after the end", done
        if "configuration.json" not in names:
            return "starting", 0
        if "assembled.tmp" in names or done == len(RECIPE.blocks):
            return "assembling", done
        return ("solving, some blocks done" if done else "solving, no block done"), done
    return "tidying up", 0


def alive(run: psutil.Process) -> bool:
    """Whether a child still runs."""
    return run.is_running() and run.status() != psutil.STATUS_ZOMBIE


def wait(run: psutil.Process, out: Path, draw: random.Random) -> None:
    """Until a random moment: in six of ten cases after some more blocks, else early, or when the last one is there."""
    count = len(RECIPE.blocks)
    more, longest = draw.choice([(-count, 1.0)] * 2 + [(None, BLOCK_SECONDS)] * 6 + [(count, 0.1)] * 2)
    aim = phase(out)[1] + (draw.randint(1, count // 4) if more is None else more)

    def reached() -> bool:
        now, done = phase(out)
        return mark(out, run.pid).exists() and (done >= min(aim, count) or now in ("assembling", "tidying up"))

    while alive(run) and not reached():
        time.sleep(0.002)
    until = time.monotonic() + draw.uniform(0, longest)
    while alive(run) and time.monotonic() < until:
        time.sleep(0.002)


def mark(out: Path, process: int) -> Path:
    """The file a run makes when it begins to work."""
    return out.parent / f"begun-{process}"


def kill(run: psutil.Process, workers: list[psutil.Process], out: Path, draw: random.Random) -> Kill:
    """Kill the run or one of the workers."""
    where, done = phase(out)
    if workers and draw.random() < 0.4:
        draw.choice(workers).send_signal(signal.SIGKILL)
        return Kill(out.name, "worker", where, done)
    run.send_signal(signal.SIGKILL)
    return Kill(out.name, "process", where, done)


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The processes of dask's workers; multiprocessing's resource tracker is a child too, and no worker."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in process.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    return []


@contextlib.contextmanager
def standing_cluster(count: int, folder: Path) -> Iterator[tuple[AbstractCompute, Sequence[psutil.Process]]]:
    """A dask scheduler with workers that outlive the runs, each under a nanny that replaces it when it dies."""
    record = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    calls = [["scheduler", "--port", "0", "--dashboard-address", ":0", "--no-dashboard"]]
    calls += [["worker", "--nthreads", "1", "--no-dashboard"]] * count
    logs = (folder / "dask.log").open("w")
    processes = [
        psutil.Popen([*dask, *call, "--scheduler-file", str(record)], stdout=logs, stderr=logs) for call in calls
    ]
    while not record.exists():
        time.sleep(0.1)
    try:
        yield Scheduler(json.loads(record.read_text())["address"], timeout=300), processes[1:]
    finally:
        for process in processes:
            process.terminate()


def start(out: Path, compute: AbstractCompute) -> psutil.Process:
    """Begin to simulate in a fork of this process, which has loaded everything."""
    child = os.fork()
    if child:
        return psutil.Process(child)
    try:
        mark(out, os.getpid()).touch()
        produce(RECIPE, out, compute=compute)
    except BaseException as error:
        print(f"    {type(error).__name__}: {error}", flush=True)
        os._exit(1)
    os._exit(0)


def kill_until_done(
    count: int, seed: int, folder: Path, compute: AbstractCompute, nannies: Sequence[psutil.Process]
) -> tuple[list[Kill], list[str], list[str]]:
    """Kills, identities of the files made under fire, and what went wrong."""
    draw, kills, identities, trouble, run, number = random.Random(seed), [], [], [], None, 0
    while True:
        out = folder / f"{number}{('.nc', '.zarr')[number % 2]}"
        run = run or start(out, compute)
        if len(kills) < count and phase(out)[0] != "after the end":
            wait(run, out, draw)
            if alive(run) and phase(out)[0] != "after the end":
                kills.append(kill(run, [w for nanny in nannies or [run] for w in workers_of(nanny)], out, draw))
                print(f"{len(kills):3d} {kills[-1]}", flush=True)
                if kills[-1].victim == "worker":
                    continue
        status = os.waitstatus_to_exitcode(os.waitpid(run.pid, 0)[1])
        run = None
        if status == -signal.SIGKILL:
            continue
        if status != 0:  # as several workers dying on one block: an error in words, and the next run goes on
            trouble.append(f"exit {status}")
            continue
        verify(out)
        identities.append(content_digest(out))
        left = [path.name for path in folder.iterdir() if path.name.startswith(out.name) and path != out]
        trouble += [f"left behind: {name}" for name in left]
        print(f"    {out.name} is complete: {identities[-1][:16]}", flush=True)
        shutil.rmtree(out) if out.is_dir() else out.unlink()
        number += 1
        if len(kills) >= count:
            return kills, identities, trouble


def main() -> None:
    """Make the figures."""
    parser = argparse.ArgumentParser(description="Kill a dask simulation at random moments.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--local", action="store_true", help="each run starts workers of its own")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # so that forking is safe behind the first run
    kind = "local" if arguments.local else "scheduler"
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        produce(RECIPE, folder / "whole.nc", compute=Serial())
        whole = content_digest(folder / "whole.nc")
        if arguments.local:
            compute, nannies = Workers(arguments.workers), []
        else:
            compute, nannies = stack.enter_context(standing_cluster(arguments.workers, folder))
        begin = time.monotonic()
        kills, identities, trouble = kill_until_done(arguments.kills, arguments.seed, folder, compute, nannies)
    summary = {
        "workers": f"{arguments.workers}, {kind}",
        "kills": len(kills),
        "victims": dict(Counter(kill.victim for kill in kills)),
        "phases": dict(Counter(f"{kill.victim}: {kill.phase}" for kill in kills)),
        "files": len(identities),
        "files_with_the_identity_of_the_undisturbed_one": identities.count(whole),
        "identity": whole,
        "trouble": trouble,
        "seconds": round(time.monotonic() - begin),
        "seed": arguments.seed,
        "python": platform.python_version(),
    }
    print(json.dumps(summary, indent=1))
    RESULTS.mkdir(exist_ok=True)
    record = {**summary, "each": [asdict(kill) for kill in kills]}
    (RESULTS / f"{kind}.json").write_text(json.dumps(record, indent=1) + "\n")
    if set(identities) != {whole}:
        raise SystemExit("identities differ")


if __name__ == "__main__":
    main()
