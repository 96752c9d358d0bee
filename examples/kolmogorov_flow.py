"""Kolmogorov flow in 2-D: from rest-like noise to turbulence, its energy and enstrophy, kept as netCDF for xarray."""

import argparse
import math
import tempfile
from pathlib import Path

from sciml import metrics
from sciml.data import simulate
from sciml.grids import Grid
from sciml.pde import GaussianRandomField, KolmogorovForcing, NavierStokes2D


def main(smoke: bool, folder: Path) -> None:
    points = 32 if smoke else 128
    grid = Grid((points, points), (2 * math.pi, 2 * math.pi))
    flow = NavierStokes2D(viscosity=1e-2, drag=0.1, forcing=KolmogorovForcing(wavenumber=4))
    data = simulate(
        flow,
        grid,
        GaussianRandomField(peak=4, rms=3.0),
        folder / "kolmogorov.nc",
        trajectories=2,
        frames=5 if smoke else 41,
        dt_frame=0.5,
        dt=0.025,
        seed=0,
    )
    omega = data.load().read(range(2), 0, data.shape[1])
    for name, value in (("energy", metrics.energy(omega, grid)), ("enstrophy", metrics.enstrophy(omega))):
        print(f"{name}: {float(value[:, 0].mean()):.3f} at the start, {float(value[:, -1].mean()):.3f} at the end")
    print(data.to_xarray())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
