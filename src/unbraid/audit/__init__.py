"""The audit: which part knows which factor, how much of it, how surely, and whether it should."""

from unbraid.audit.families import Column, Family, Seat
from unbraid.audit.page import Audit
from unbraid.audit.rows import Row
from unbraid.audit.run import audit

__all__ = ["Audit", "Column", "Family", "Row", "Seat", "audit"]
