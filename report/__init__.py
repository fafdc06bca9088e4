"""Looking at it: galleries, accuracy curves, tables of results.

Pictures are drawn on `matplotlib.figure.Figure` objects, so no window system and no global state.
"""
