"""Train a step of model.py, test it and save it.

    python train.py Model_3

Shorter runs: python train.py Model_1 --data digits --images 2000 --epochs 2
"""

import argparse

import model

import mnistcnn

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("step", nargs="?", default="Model_3", help="class in model.py")
parser.add_argument("--data", default="mnist", help="mnist, or digits for synthetic images")
parser.add_argument("--images", type=int, help="train on the first images only")
parser.add_argument("--epochs", type=int, help="number of epochs, instead of that of the recipe")
options = parser.parse_args()

train_set, test_set = mnistcnn.load(options.data)
net = getattr(model, options.step)()
print(mnistcnn.from_torch(net).summary())
recipe = net.recipe.replace(epochs=options.epochs or net.recipe.epochs)
# The course evaluates on the test set after each epoch. This is only reported, and not used to select an epoch.
history = mnistcnn.train(net, train_set[: options.images], recipe, validation=test_set)
print(history)
print(mnistcnn.test(net, test_set))
mnistcnn.from_torch(net).save(f"{options.step}.safetensors")
mnistcnn.plot.curves(history, evaluated="Test").savefig(f"{options.step}.png")
