"""Networks that a file holds as a graph of tensors: TFLite, ONNX, TensorFlow; read as data."""
