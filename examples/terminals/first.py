"""Makes ten bytes of shared memory, as "go run ./examples/terminals first" does."""
from multiprocessing import shared_memory

block = shared_memory.SharedMemory(create=True, size=10)
print("object:", block)
print("name:", block.name)
print("bytes:", bytes(block.buf).hex(" "))
block.buf[-1] = 2

other = shared_memory.SharedMemory(block.name)  # another object over the same memory
print("by another handle:", bytes(other.buf).hex(" "))
other.close()

print("in another terminal: go run ./examples/terminals second", block.name)
print("                 or: python3 examples/terminals/second.py", block.name)
print("then press Enter here", flush=True)
input()

print("bytes at the end:", bytes(block.buf).hex(" "))
block.close()
try:
    block.unlink()
except FileNotFoundError:
    print("somebody removed the name: Python does when it ends")
