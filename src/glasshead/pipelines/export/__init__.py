"""Write a classifier as ONNX, int8 ONNX and a torch.export program; measure their accuracy and speed."""
