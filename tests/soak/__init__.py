"""Long runs of a detector: frames, threads, opening and closing; what memory does meanwhile.

``python -m tests.soak frames --runtime onnxruntime --frames 100000`` prints a summary and ends with
exit code 1 where memory grew by more than it may.
"""
