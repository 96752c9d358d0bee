"""Step control: fixed grids, error control, times to be hit, ladders of step sizes."""

from sciml.integrate.control.base import AbstractControl
from sciml.integrate.control.clip import Clip
from sciml.integrate.control.fixed import Fixed, Times
from sciml.integrate.control.ladder import Ladder
from sciml.integrate.control.pid import PID

__all__ = ["PID", "AbstractControl", "Clip", "Fixed", "Ladder", "Times"]
