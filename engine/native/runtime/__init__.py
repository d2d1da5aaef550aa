"""What runs the model: steps, batches, graphs and the thread that owns the device."""
