"""The edgewhisper command."""
