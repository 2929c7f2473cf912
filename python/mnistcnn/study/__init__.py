"""Studies of many runs: trials over seeds, comparisons, the experiment log, folds, ensembles, sweeps."""
