"""The Piper voice on onnxruntime."""
