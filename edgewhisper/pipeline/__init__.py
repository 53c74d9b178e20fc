"""The build: checkpoint -> graphs -> checks -> artifact."""
