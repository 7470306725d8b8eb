from __future__ import annotations

import numpy as np

from edgead.backbones import lite
from studies import top1


def test_the_class_is_the_one_whose_channel_answers() -> None:
    size = lite.channels(lite.STAGES - 1)
    arrays = {
        "_conv_head.weight": np.zeros((lite.HEAD, size, 1, 1), np.float32),
        "_fc.weight": np.zeros((lite.CLASSES, lite.HEAD), np.float32),
        "_fc.bias": np.zeros(lite.CLASSES, np.float32),
        "_bn1.weight": np.ones(lite.HEAD, np.float32),
        "_bn1.bias": np.zeros(lite.HEAD, np.float32),
        "_bn1.running_mean": np.zeros(lite.HEAD, np.float32),
        "_bn1.running_var": np.ones(lite.HEAD, np.float32),
    }
    arrays["_conv_head.weight"][7, 3] = 1
    arrays["_fc.weight"][42, 7] = 1
    stage = np.zeros((2, size, 2, 2), np.float32)
    stage[0, 3] = 1
    assert top1.classes(stage, arrays).tolist() == [42, 0]


def test_the_middle_of_a_photo_is_taken() -> None:
    photo = np.zeros((256, 400, 3), np.uint8)
    photo[:, 200] = 255
    found = top1.prepared(photo)
    assert found.shape == (224, 224, 3)
    assert np.flatnonzero(found[0, :, 0]).tolist() == [112]
