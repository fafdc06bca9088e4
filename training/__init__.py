"""What every trained thing shares: networks, augmentation, the engine."""
