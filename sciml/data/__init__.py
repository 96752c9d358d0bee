"""The data layer: trajectories in files and memory, simulated, cut into windows, kept from rollouts."""

from sciml.data.files import content_digest, verify
from sciml.data.metadata import Metadata
from sciml.data.normalise import fit_increment_normalizer, fit_normalizer
from sciml.data.opening import file_digest, open_trajectories
from sciml.data.simulate import simulate
from sciml.data.sinks import NetCDFSink, XarraySink
from sciml.data.splits import split
from sciml.data.subsample import subsample
from sciml.data.trajectories import Trajectories
from sciml.data.windows import StepSampler, Windows, loader

__all__ = [
    "Metadata",
    "NetCDFSink",
    "StepSampler",
    "Trajectories",
    "Windows",
    "XarraySink",
    "content_digest",
    "file_digest",
    "fit_increment_normalizer",
    "fit_normalizer",
    "loader",
    "open_trajectories",
    "simulate",
    "split",
    "subsample",
    "verify",
]
