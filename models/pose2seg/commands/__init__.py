"""The commands of `pose2seg`, a module each: `add_to(commands)` adds its parser."""
