"""Local web page that classifies digits while they are drawn: ``mnistcnn demo``."""

from mnistcnn.demo.reader import Answer, Reader
from mnistcnn.demo.server import make_app, serve

__all__ = ["Answer", "Reader", "make_app", "serve"]
