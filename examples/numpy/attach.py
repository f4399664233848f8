"""Attach to a Shiplap array: NumPy, and docs/layout.md, are all it takes. Nothing is copied."""
import mmap, os, re, struct
import numpy as np

def dtype(s):
    """The dtype that a layout (section 27) begins with, and the rest of the text."""
    if s[0] == "[":
        count, rest = s[1:].split("]", 1)
        elem, rest = dtype(rest)
        return np.dtype((elem.base, (int(count),) + elem.shape)), rest
    if s.startswith("bfloat16"):
        import ml_dtypes  # pip install ml_dtypes
        return np.dtype(ml_dtypes.bfloat16), s[8:]
    if s.startswith("utf8["):  # byte strings: numpy.strings.decode(a, "utf-8") has the text
        count, rest = s[5:].split("]", 1)
        return np.dtype("S" + count), rest
    if s[0] != "{":
        m = re.match(r"[|<][A-Za-z]\d+", s)
        return np.dtype(m[0]), s[m.end():]
    fields, s = {"names": [], "formats": [], "offsets": []}, s[1:]
    while s[0] != ";":
        name, s = s.lstrip(",").split(":", 1)
        form, s = dtype(s)
        m = re.match(r"@(\d+)", s)
        for key, v in ("names", name), ("formats", form), ("offsets", int(m[1])):
            fields[key].append(v)
        s = s[m.end():]
    m = re.match(r";size=(\d+),align=\d+}", s)
    return np.dtype(dict(fields, itemsize=int(m[1]))), s[m.end():]

def attach(name, domain="default"):
    """The plain array of that name, in place: what is written to it, the others see."""
    base = os.environ.get("SHIPLAP_DIR", "/dev/shm")
    name, domain = (re.sub("^[.#]", lambda c: "%%%02X" % ord(c[0]), n.replace("%", "%25")) for n in (name, domain))
    with open(os.path.join(base, "shiplap-%d" % os.geteuid(), "v2", domain, name), "r+b") as f:
        m = mmap.mmap(f.fileno(), 0)
    magic, layout, kind, size = struct.unpack_from("<8sIIQ", m)
    length, = struct.unpack_from("<I", m, 56)
    first, *dims = struct.unpack_from("<8Q", m, 64)
    if (magic, layout, kind, size, first >> 16 & 0xffffffff) != (b"SHIPLAP\0", 2, 11, len(m), 1):
        raise ValueError("%s is no plain array" % f.name)
    elem, _ = dtype(m[2048:2048 + length].decode()[len("fixed:"):])
    return np.ndarray(dims[:first & 0xffff], elem, m, 8192)
