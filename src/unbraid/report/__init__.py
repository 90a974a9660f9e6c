"""One self-contained HTML page per run or audit, made from the files that lie in the run folder."""

from unbraid.report.page import write_audit_page, write_report

__all__ = ["write_audit_page", "write_report"]
