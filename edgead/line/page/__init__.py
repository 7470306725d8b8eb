"""The page of a line, its HTTP API, health and metrics: what a browser and Prometheus may ask.

Everything runs in one thread beside the stations. Nothing is computed unless someone asks, and
pictures are encoded a few times a second at most, however many look.
"""
