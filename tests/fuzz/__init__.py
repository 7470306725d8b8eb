"""Damaged and hostile files, made by seeded mutation of good ones.

``python -m tests.fuzz --target artifacts --cases 10000 --seed 0`` runs a campaign and prints a
summary; ``--case N`` repeats one case of it. :mod:`tests.fuzz.campaign` has the limits of a case.
"""
