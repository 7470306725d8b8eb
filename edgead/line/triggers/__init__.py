"""What says that a part is there. Others come by the entry points ``edgead.triggers``."""
