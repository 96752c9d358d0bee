"""A data set with a viscosity of its own for every trajectory, made by several processes, opened again lazily.

Run it again and it returns at once; interrupt it and it goes on where it stopped. `--out burgers.zarr` writes Zarr.
"""

import argparse
import tempfile
from pathlib import Path

from sciml.data import Recipe, Serial, Trajectories, Windows, Workers, content_digest, estimate, produce
from sciml.grids import Grid
from sciml.pde import Burgers, LogUniform, TruncatedFourier

if __name__ == "__main__":  # the workers import this file
    parser = argparse.ArgumentParser(description="Simulate a data set.")
    parser.add_argument("--smoke", action="store_true", help="a few seconds, in this process")
    parser.add_argument("--out", type=Path, default=Path(tempfile.mkdtemp()) / "burgers.nc")
    arguments = parser.parse_args()

    recipe = Recipe(
        Burgers(),
        Grid((512,), (6.283185307179586,)),
        TruncatedFourier(4, 0.7),
        trajectories=6 if arguments.smoke else 2000,
        frames=21 if arguments.smoke else 101,
        dt_frame=0.04,
        dt=0.01,
        seed=0,
        parameters={"viscosity": LogUniform(0.01, 0.1)},  # drawn by (seed, id): more trajectories change none of these
        store_points=(256,),
        block=4 if arguments.smoke else 32,
    )
    compute = Serial() if arguments.smoke else Workers()  # or Scheduler("tcp://host:8786")
    print(estimate(recipe, arguments.out, compute=compute))
    produce(recipe, arguments.out, compute=compute)

    data = Trajectories.open(arguments.out)  # reads no values
    print(data)
    print("viscosities:", ", ".join(f"{value:.3f}" for value in data.parameters["viscosity"][:6].tolist()), "...")
    windows = Windows(data, 3)  # three frames each, read when asked for
    print(f"{len(windows)} windows; the first is {tuple(windows[0].frames.shape)}")
    late = data.to_xarray()["u"].isel(time=-1)  # an xarray view, lazy too
    print(f"steepest slope at the end: {float(abs(late.differentiate('x')).max()):.1f}")
    print("content:", content_digest(arguments.out)[:16], "(the same for any number of workers, and for Zarr)")
