"""One self-contained HTML page per run, audit or study, made from the files that lie in its folder."""

from unbraid.report.page import fill, write_audit_page, write_report
from unbraid.report.palette import level

__all__ = ["fill", "level", "write_audit_page", "write_report"]
