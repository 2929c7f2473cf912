"""Entry point of ``python -m mnistcnn``."""

from mnistcnn.cli.main import main

if __name__ == "__main__":
    main()
