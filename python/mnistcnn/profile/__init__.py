"""Performance measurements: profile of a training step by layer, and epoch times compared with PyTorch.

>>> import mnistcnn
>>> report = mnistcnn.profile.profile(mnistcnn.create_model("budget_model3"), batch_size=32, seconds=0.05)
>>> report.batch_size
32
"""

from mnistcnn.profile.epoch_times import EpochTimes, bench
from mnistcnn.profile.profiler import LayerTime, Limits, Profile, measured_limits, profile

__all__ = ["EpochTimes", "LayerTime", "Limits", "Profile", "bench", "measured_limits", "profile"]
