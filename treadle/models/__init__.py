"""What a version is: its ONNX, its bundle and signature, its place in MLflow, and how it is opened again."""
