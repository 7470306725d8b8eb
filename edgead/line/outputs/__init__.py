"""Where verdicts go. One file a kind; others come by the entry points ``edgead.outputs``."""
