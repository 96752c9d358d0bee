"""A small simulation to be killed.

As a program it reads names of output files, one per line, forks a process that simulates each, prints its number,
and then how it ended. So the imports, which take longer than the work, happen once.
"""

import os
import sys
import time

import torch

from sciml.data import simulate
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


def serve() -> None:
    """Simulate in one process after the other."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(line.strip(), pause=0.01)
            except KeyboardInterrupt:
                os._exit(130)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
