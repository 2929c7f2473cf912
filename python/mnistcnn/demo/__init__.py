"""A local page where one draws a digit and watches a model read it: ``mnistcnn demo``."""

from mnistcnn.demo.reader import Answer, Reader
from mnistcnn.demo.server import make_app, serve

__all__ = ["Answer", "Reader", "make_app", "serve"]
