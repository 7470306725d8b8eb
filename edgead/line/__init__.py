"""A line that inspects by itself: source → trigger → detector → verdict → outputs.

One :class:`~edgead.line.station.Station` has one camera, one detector and its outputs, and judges
in a thread of its own. Whatever fails, what the outputs get is "reject".
"""
