"""A report on benchmark runs: one HTML page that needs nothing else, its plots as PNG files, its tables as Markdown."""
