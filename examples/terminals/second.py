"""Sees ten bytes that another terminal made, and changes the first one."""
import sys
from multiprocessing import shared_memory

block = shared_memory.SharedMemory(sys.argv[1])
print("bytes:", bytes(block.buf).hex(" "))
block.buf[0] = 1
block.close()
