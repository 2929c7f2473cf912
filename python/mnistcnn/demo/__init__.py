"""Local web page that classifies digits while they are drawn: ``mnistcnn demo``."""

from mnistcnn.demo.classifier import Answer, DigitClassifier
from mnistcnn.demo.server import make_app, serve

__all__ = ["Answer", "DigitClassifier", "make_app", "serve"]
