"""The data layer: trajectories in files and memory, simulated, cut into windows, kept from rollouts."""

from sciml.data.compute import AbstractCompute, LostWorkersError, Scheduler, Serial, Workers
from sciml.data.estimate import Estimate, estimate
from sciml.data.files import content_digest, verify
from sciml.data.formats import AbstractFormat, NetCDF4, Zarr
from sciml.data.metadata import Metadata
from sciml.data.normalise import fit_increment_normalizer, fit_normalizer
from sciml.data.opening import file_digest, open_trajectories
from sciml.data.recipe import Recipe
from sciml.data.simulate import produce, simulate
from sciml.data.sinks import NetCDFSink, XarraySink
from sciml.data.splits import split
from sciml.data.subsample import subsample
from sciml.data.trajectories import Trajectories
from sciml.data.windows import StepSampler, Windows, loader

__all__ = [
    "AbstractCompute",
    "AbstractFormat",
    "Estimate",
    "LostWorkersError",
    "Metadata",
    "NetCDF4",
    "NetCDFSink",
    "Recipe",
    "Scheduler",
    "Serial",
    "StepSampler",
    "Trajectories",
    "Windows",
    "Workers",
    "XarraySink",
    "Zarr",
    "content_digest",
    "estimate",
    "file_digest",
    "fit_increment_normalizer",
    "fit_normalizer",
    "loader",
    "open_trajectories",
    "produce",
    "simulate",
    "split",
    "subsample",
    "verify",
]
