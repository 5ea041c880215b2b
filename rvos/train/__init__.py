"""Fine-tuning: clips, augmentation, losses over devices, checkpoints, validation."""
