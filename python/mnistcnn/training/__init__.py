"""Training: recipes, trainer, callbacks, checkpoints, history and learning rate finder."""
