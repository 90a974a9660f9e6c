"""The verbs as whole jobs: train -> audit -> steer -> report, and what the command line calls.

Importing this loads nothing heavy, so that a new run is on disk before torch is there.
"""

from unbraid.verbs.applying import apply
from unbraid.verbs.auditing import Question, audit_file, audit_run, audit_target, document
from unbraid.verbs.erasing import Wish, erase
from unbraid.verbs.fetching import fetch_data
from unbraid.verbs.request import DEFAULT_DATA, DEFAULT_METHOD, Request
from unbraid.verbs.showing import list_data, show_data
from unbraid.verbs.steering import pictures, steer
from unbraid.verbs.trained import Trained, embed, encode, load
from unbraid.verbs.training import resume, train

__all__ = [
    "DEFAULT_DATA",
    "DEFAULT_METHOD",
    "Question",
    "Request",
    "Trained",
    "Wish",
    "apply",
    "audit_file",
    "audit_run",
    "audit_target",
    "document",
    "embed",
    "encode",
    "erase",
    "fetch_data",
    "list_data",
    "load",
    "pictures",
    "resume",
    "show_data",
    "steer",
    "train",
]
