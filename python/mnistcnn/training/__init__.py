"""Training: recipes, the trainer, callbacks, checkpoints, histories and the learning rate finder."""
