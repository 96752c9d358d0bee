"""A small simulation to be killed.

As a program it reads lines `CRASH OUT`, forks a process that simulates OUT, prints its number, and then how it ended.
So what takes longer than the work, imports and first uses, happens once. A process dies on the spot just before, or
after, its CRASH-th operation on files (even and odd numbers); -1 lets it live and slows it down.
"""

import os
import sys
import tempfile
import time

import torch

from sciml.data import formats, simulate
from sciml.grids import Grid
from sciml.pde import KuramotoSivashinsky, TruncatedFourier


def run(out: str, pause: float = 0.0) -> None:
    """Nine trajectories in five blocks; `pause` seconds per stored frame spread the work over time."""
    simulate(
        KuramotoSivashinsky(),
        Grid((32,), (22.0,)),
        TruncatedFourier(3),
        out,
        trajectories=9,
        frames=10,
        dt_frame=0.5,
        dt=0.25,
        spin_up=0.5,
        seed=5,
        first_id=100,
        block=2,
        store_points=(24,),
        parameters={"viscosity": torch.linspace(0.9, 1.1, 9, dtype=torch.float64)},
        progress=lambda done, total: time.sleep(pause),
    )


def crash_at(point: int) -> None:
    """Let this process die at a file operation."""
    count = 0

    def deadly(operation):
        def wrapped(*args, **kwargs):
            nonlocal count
            if count == point:
                os._exit(9)
            result = operation(*args, **kwargs)
            if count + 1 == point:
                os._exit(9)
            count += 2
            return result

        return wrapped

    for owner, names in ((os, ("fsync", "replace", "unlink", "rmdir")), (formats, ("create", "create_zarr", "seal"))):
        for name in names:
            setattr(owner, name, deadly(getattr(owner, name)))


def serve() -> None:
    """Simulate in one process after the other."""
    torch.set_num_threads(1)  # one thread, so that forking is safe after the first run has loaded everything
    with tempfile.TemporaryDirectory() as folder:
        run(f"{folder}/first.nc")
    for line in sys.stdin:
        crash, out = line.strip().split(" ", 1)
        child = os.fork()
        if child == 0:
            crash_at(int(crash))
            try:
                run(out, pause=0.01 if int(crash) < 0 else 0.0)
            except KeyboardInterrupt:
                os._exit(130)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
