"""Networks that pretrained weights are for, and what they are given. Needs torch.

Nothing here knows of detectors or of files with weights: both import from here.
"""
