"""Studies: methods x data x seeds, each cell a run folder, compared on one page."""

from unbraid.study.board import Board, Place, Rank, Value
from unbraid.study.recipe import Cell, Contender, Ground, Recipe, read_recipe
from unbraid.study.run import restudy, study, study_command

__all__ = [
    "Board",
    "Cell",
    "Contender",
    "Ground",
    "Place",
    "Rank",
    "Recipe",
    "Value",
    "read_recipe",
    "restudy",
    "study",
    "study_command",
]
