"""Small made codes and factors for the audit's tests."""

import numpy as np

from unbraid.data.factors import Factor, FactorTable


def factors(**columns):
    """Categorical factors from integer columns (NaN where missing), continuous ones from other floats."""
    found, values = [], []
    for name, column in columns.items():
        column = np.asarray(column, dtype=float)
        known = column[~np.isnan(column)]
        if (known == np.floor(known)).all():
            found.append(Factor(name, "categorical", tuple(f"v{i}" for i in range(int(known.max()) + 1))))
        else:
            found.append(Factor(name, "continuous"))
        values.append(column)
    return FactorTable(found, np.stack(values, 1))


def one_hot(y):
    return np.eye(int(y.max()) + 1)[y]
