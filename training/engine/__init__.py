"""Device, optimiser, schedule, average, checkpoints and signals: what training loops share."""
