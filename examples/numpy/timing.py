"""Times the attaching of an array beside numpy.frombuffer over a buffer that is there already."""
import sys, time
import numpy as np
from attach import attach

name, domain = sys.argv[1:3]

def median(f, n=51):
    times = []
    for _ in range(n):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return sorted(times)[n // 2] * 1e3

a = attach(name, domain)
buffer = bytearray(a.nbytes)
ours, theirs = median(lambda: attach(name, domain)), median(lambda: np.frombuffer(buffer, a.dtype).reshape(a.shape))
print("%d bytes: attach %.4f ms, frombuffer %.4f ms, %.4f ms more" % (a.nbytes, ours, theirs, ours - theirs))
