"""The benchmark: scenarios, competitors, scores, results, report."""

from sciml.bench.checkpoint import ModelCard, load, read_card, save_model
from sciml.bench.gallery import Gallery, write_gallery
from sciml.bench.recipes import demonstration_recipe, scenario_recipe
from sciml.bench.registry import demonstration
from sciml.bench.report import write_report
from sciml.bench.results import ResultStore, Row, same_table
from sciml.bench.runner import BenchResult, run, simulate_data
from sciml.bench.scenario import DataConfig, ModeConfig, ModelConfig, Scenario, SolverConfig, load_scenario
from sciml.bench.scoring import score
from sciml.bench.summary import leaderboard, report_data

__all__ = [
    "BenchResult",
    "DataConfig",
    "Gallery",
    "ModeConfig",
    "ModelCard",
    "ModelConfig",
    "ResultStore",
    "Row",
    "Scenario",
    "SolverConfig",
    "demonstration",
    "demonstration_recipe",
    "leaderboard",
    "load",
    "load_scenario",
    "read_card",
    "report_data",
    "run",
    "same_table",
    "save_model",
    "scenario_recipe",
    "score",
    "simulate_data",
    "write_gallery",
    "write_report",
]
