"""What holds the contract: `check_method` for anybody's method, and made data to try it on."""

from unbraid.testing.contract import check_method

__all__ = ["check_method"]
