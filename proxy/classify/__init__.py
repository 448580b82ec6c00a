"""Which chat requests are no user's turn: jobs that clients give to the model, steps of tool loops, probes."""

from proxy.classify.catalogue import LABELS, TOOL_STEP, Label
from proxy.classify.classifier import Classifier

__all__ = ["LABELS", "TOOL_STEP", "Classifier", "Label"]
