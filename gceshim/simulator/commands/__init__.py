"""The commands of the simulator, by group."""
