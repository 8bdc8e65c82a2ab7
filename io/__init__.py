"""One file a system: Kafka, TimescaleDB, the metadata in PostgreSQL, the cache in Redis."""
