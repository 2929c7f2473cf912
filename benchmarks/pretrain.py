"""Train the pretrained weights of the package, and write them with their cards.

    python benchmarks/pretrain.py                     # the networks that have no weights yet
    python benchmarks/pretrain.py --networks fast_99  # these, again

Every network with fewer than 100,000 parameters is trained on MNIST with its published recipe and seed 0, which was
chosen before training. The test set is evaluated once, after the last epoch. The weights do not depend on the number of
threads, nor on the CPU if it has AVX2. All networks take about 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from accuracy import validation_of

import mnistcnn
from mnistcnn import ImageSet
from mnistcnn._internal.tables import write_text
from mnistcnn.nn.pretrained import CARDS, ModelCard
from mnistcnn.study.shared_sets import facts_of

FOLDER = Path(__file__).parents[1] / "python" / "mnistcnn" / "nn" / "pretrained"
LARGEST = 100_000  # parameters
SEED = 0
VARIANTS = {"session7_net": "rotation_step"}  # of the recipes; the others have one variant


def networks() -> list[str]:
    """Return the names of the networks that get weights."""
    return [name for name in mnistcnn.list_models() if mnistcnn.create_model(name).parameter_count < LARGEST]


def recipe_of(name: str) -> mnistcnn.Recipe:
    """Return the recipe of a network's weights."""
    return mnistcnn.recipe(name, VARIANTS.get(name)).replace(seed=SEED)


def trained(name: str, train_set: ImageSet) -> mnistcnn.Model:
    """Return a network, trained with its recipe."""
    model = mnistcnn.create_model(name, seed=SEED)
    recipe = recipe_of(name)
    mnistcnn.train(model, train_set, recipe, validation=validation_of(recipe))
    return model


def card(model: mnistcnn.Model, file: Path, train_set: ImageSet, test_set: ImageSet) -> ModelCard:
    """Return the card of a trained network."""
    return ModelCard(
        name=model.name,
        variant=VARIANTS.get(model.name),
        recipe=recipe_of(model.name).to_dict(),
        seed=SEED,
        data=train_set.name,
        train_digest=facts_of(train_set).digest,
        train_images=len(train_set),
        test_accuracy=mnistcnn.test(model, test_set).accuracy,
        test_images=len(test_set),
        versions={"mnistcnn": mnistcnn.__version__, "torch": version("torch")},
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=networks(), metavar="NETWORK", help="train these again")
    options = parser.parse_args()
    path = FOLDER / CARDS.name
    stored = json.loads(path.read_text("utf-8")) if path.exists() else []
    found = {each["name"]: each for each in stored}
    train_set, test_set = mnistcnn.load("mnist")
    for name in options.networks or [name for name in networks() if name not in found]:
        model = trained(name, train_set)
        file = model.save(FOLDER / f"{name}.safetensors")
        found[name] = asdict(card(model, file, train_set, test_set))
        print(f"{name}: {100 * found[name]['test_accuracy']:.2f} %", flush=True)
        write_text(path, json.dumps([found[each] for each in networks() if each in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
