"""The report: from prediction tables to numbers, figures and one page. No network is needed."""
