import sys
from multiprocessing import resource_tracker, shared_memory

def attach(name):
    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name, track=False)
    segment = shared_memory.SharedMemory(name)
    resource_tracker.unregister(segment._name, "shared_memory")
    return segment
