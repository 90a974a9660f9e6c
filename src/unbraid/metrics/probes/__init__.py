"""Probes: what can be read from codes, told for each item by a probe that saw neither the item nor its group.

Three probes, from labels and folds to out-of-fold log-probabilities (natural logarithms):

- `linear`: ridge multinomial regression on the codes, all factors and folds at once;
- `mlp`: one hidden layer shared by a head per factor, stopped early for each fold and factor;
- `table`: each column alone, cut into bins; class frequencies of a bin, drawn towards those of all bins.

The first two are tuned on a fifth of each fold's training groups, the third by leaving one out in closed form.
"""

from unbraid.metrics.probes.bins import equal_frequency, most_bins, table
from unbraid.metrics.probes.common import Labels, LogProbabilities
from unbraid.metrics.probes.network import mlp
from unbraid.metrics.probes.softmax import linear

__all__ = ["Labels", "LogProbabilities", "equal_frequency", "linear", "mlp", "most_bins", "table"]
