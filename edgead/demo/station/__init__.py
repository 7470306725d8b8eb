"""A rendered inspection station: large frames of a plate that is held by clamps on a belt."""

from edgead.demo.station._defects import KINDS, Defect
from edgead.demo.station._drawing import HEIGHT, WIDTH
from edgead.demo.station._station import CROP, LEAST_WIDTH, Station

__all__ = ["CROP", "HEIGHT", "KINDS", "LEAST_WIDTH", "WIDTH", "Defect", "Station"]
