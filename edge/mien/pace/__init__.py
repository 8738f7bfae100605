"""How much a live stream does: as configured, or less, on a hot board, on a slow one, or for a budget.

`controller` decides, `pacer` measures for it in a thread, `ladder` keeps it from swinging to and fro.
"""
