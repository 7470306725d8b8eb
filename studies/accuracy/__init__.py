"""How accurate detectors are: the published protocols, and other sets, in one table."""
