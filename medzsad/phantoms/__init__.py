"""Generated volumes of heads, healthy and with lesions, to calibrate decisions and to make choices with.

Their code and ideas are independent of what models are trained on, and nothing in them stems from a patient.
"""

from medzsad.phantoms.records import PhantomLesion, PhantomVolume
from medzsad.phantoms.volume import make_phantom, make_phantom_sequences

__all__ = ["PhantomLesion", "PhantomVolume", "make_phantom", "make_phantom_sequences"]
