"""The pipeline's steps: Beam around pure functions on batches. They open no connection and read no environment."""
