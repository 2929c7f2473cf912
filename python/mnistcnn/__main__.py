"""Entry point of ``python -m mnistcnn``."""

from mnistcnn.cli.main import run

if __name__ == "__main__":
    run()
