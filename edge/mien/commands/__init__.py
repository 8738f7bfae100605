"""The commands of `mien`, one a module.

`add_to` adds a parser to the commands of `mien`; the `function` set in it does the work and returns the exit code.
"""
