"""What every process shares: settings, JSON logs, metrics, health endpoints, shutdown."""
