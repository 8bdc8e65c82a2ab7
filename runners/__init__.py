"""One file a runner: each turns settings into Beam options, and starts and stops what that runner needs."""
