"""Facts about a user out of what was said, found by a model and believed only as far as the user's words carry them."""

from proxy.extraction.base import REASONS, Batch, Extraction, Fact, Known, Reason, Said
from proxy.extraction.extractor import Extractor, Model, open_model

__all__ = ["REASONS", "Batch", "Extraction", "Extractor", "Fact", "Known", "Model", "Reason", "Said", "open_model"]
