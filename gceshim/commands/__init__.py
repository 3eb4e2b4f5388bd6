"""The commands of `gceshim`, a module each: `configure(parser)` and `run(args, environ) -> exit status`."""
