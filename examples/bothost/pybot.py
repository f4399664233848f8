"""A bot in stock Python: it answers what it gets. Its environment says who it is, and where the main process listens."""
import os
from multiprocessing.connection import Client

env = os.environ
print("I am process", env["SHIPLAP_PROC"], "of domain", env["SHIPLAP_DOMAIN"])
with Client("\0" + env["PYBOT_SOCKET"], "AF_UNIX", bytes.fromhex(env["PYBOT_KEY"])) as main:
    os.write(int(env["SHIPLAP_READY_FD"]), b"\n")  # ready
    while True:
        try:
            text = main.recv()
        except EOFError:
            break
        print("Active receive:", text)
        main.send("pybot got: " + text)
