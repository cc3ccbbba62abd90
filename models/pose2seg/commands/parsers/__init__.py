"""The arguments of each command. No module here imports torch, so that --help is quick."""
