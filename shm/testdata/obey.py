# Does what it reads, a line at a time, and answers with the value or the error's name.
import mmap, os, socket, struct, sys
from multiprocessing.shared_memory import SharedMemory

exec(open(os.path.join(os.path.dirname(__file__), "attach.py")).read())
names = dict(globals())
for line in sys.stdin:
    line = line.rstrip("\n")
    try:
        try:
            answer = eval(line, names)
        except SyntaxError:
            exec(line, names)
            answer = None
        print(repr(answer), flush=True)
    except Exception as e:
        print(type(e).__name__, flush=True)
