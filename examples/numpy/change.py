"""Looks at two arrays that a Go program made, and changes them."""
import sys
from attach import attach

domain = sys.argv[1]
frame = attach("frame", domain)
print("Python: frame", frame.shape, frame.dtype, "at 100,200:", frame[100, 200].tolist())
frame[:240] //= 2                      # the upper half darker
frame[240:, :, 2] = 255                # the lower half bluer

points = attach("points", domain)
print("Python: points", points.shape, points.dtype.names, points["ID"].tolist(), points["Pos"][:, 0].tolist())
points["Pos"] *= 10
points["Used"] = points["ID"] % 2 == 0
