"""The commands of `amaters-cli`, a module for each group and what only it needs."""
