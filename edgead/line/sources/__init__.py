"""Where frames come from. One file a kind; others come by the entry points ``edgead.sources``."""
