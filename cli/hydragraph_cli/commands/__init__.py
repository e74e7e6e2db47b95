"""One module a command; each holds one click command called `command`, imported when it is asked for."""
