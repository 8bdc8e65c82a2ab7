"""The audit: every frame of a stretch of the raw topic against the table and the dead letters."""
