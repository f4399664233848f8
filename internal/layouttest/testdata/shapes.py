"""Makes and checks messages by section 27 of docs/layout.md alone, with cbor2.

make: reads shapes, a line each, and writes COUNT messages of each in hex, a line of blanks between them.
check: reads lines of a shape, a tab and messages in hex, and says which are not of the shape, or not all the same."""
import datetime, math, random, re, sys, cbor2

class Shape:
    def __init__(self, text):
        self.s, self.open = text, []
        self.root = self.read()
        assert not self.s, self.s

    def skip(self, token):
        if self.s.startswith(token):
            self.s = self.s[len(token):]
            return True

    def match(self, pattern):
        m = re.match(pattern, self.s)
        self.s = self.s[m.end():]
        return m[0]

    def level(self, node, *parts):
        self.open.append(node)
        node.update(parts[0]())
        self.open.pop()
        return node

    def read(self):
        if self.skip("?"):
            return self.level({"kind": "?"}, lambda: {"elem": self.read()})
        if self.skip("["):
            n = self.match(r"\d*")
            self.skip("]")
            return self.level({"kind": "[]", "count": int(n) if n else None}, lambda: {"elem": self.read()})
        if self.skip("map["):
            def parts():
                key = self.read()
                self.skip("]")
                return {"key": key, "elem": self.read()}
            return self.level({"kind": "map"}, parts)
        for opening, closing in "{}", "()":
            if self.skip(opening):
                return self.level({"kind": opening}, lambda: {"fields": self.fields(closing)})
        if self.skip("^"):
            return self.open[-int(self.match(r"\d+"))]
        return {"kind": self.match(r"[a-z]+\d*")}

    def fields(self, closing):
        fields = []
        while not self.skip(closing):
            self.skip(",")
            if self.s[0] == '"':
                key = re.sub(r"\\(.)", r"\1", self.match(r'"(\\.|[^"\\])*"')[1:-1])
            elif re.match(r"-?\d", self.s):
                key = int(self.match(r"-?\d+"))
            else:
                key = self.match(r"\w+")
            self.skip(":")
            fields.append((key, self.read()))
        return fields

def bits(kind):
    return int(re.sub(r"\D", "", kind))

def number(kind, rnd):
    n = bits(kind)
    low, high = (-(1 << n - 1), (1 << n - 1) - 1) if kind[0] == "i" else (0, (1 << n) - 1)
    return rnd.choice([0, low, high, rnd.randint(low, high), min(high, 23), min(high, 24)])

def make(t, rnd, depth=0):
    k = t["kind"]
    if k == "bool":
        return rnd.random() < .5
    if re.fullmatch(r"[iu]\d+", k):
        return number(k, rnd)
    if k in ("f32", "f16", "bf16"):
        return rnd.choice([0.0, -0.0, 1.5, -2.0, 0.25, math.inf, -math.inf])
    if k == "f64":
        return rnd.choice([0.0, -0.0, 0.1, 1e300, math.inf, rnd.random()])
    if k == "str":
        return rnd.choice(["", "a", "\u00e4\U0001f600\0", "x" * 300])
    if k == "bytes":
        return rnd.choice([None, b"", b"\0\xff", bytes(300)])
    if k.startswith("bytes"):
        return rnd.randbytes(bits(k)) if sys.version_info >= (3, 9) else bytes(bits(k))
    if k == "time":
        zone = datetime.timezone(datetime.timedelta(minutes=rnd.randint(-720, 840)))
        return rnd.choice([None, datetime.datetime(rnd.randint(2, 9998), 5, 6, 7, 8, 9, rnd.choice([0, 120000]), zone)])
    if k == "big":
        return rnd.choice([0, -1, 1 << 63, -(1 << 64), 1 << 64, (1 << 200) + 7, -(1 << 200)])
    if k == "any":
        return rnd.choice([None, True, 5, -(1 << 70), 0.5, "x", b"y", [1, ["z"]], {"a": [1]}, {1: "a", "b": {2: 3}}, {True: 1}])
    if k == "?":
        return None if depth > 4 or rnd.random() < .4 else make(t["elem"], rnd, depth + 1)
    if k == "[]":
        if t["count"] is None and rnd.random() < .2:
            return None
        n = rnd.randint(0, 3 if depth < 4 else 0) if t["count"] is None else t["count"]
        return [make(t["elem"], rnd, depth + 1) for _ in range(n)]
    if k == "map":
        if rnd.random() < .2:
            return None
        return {make(t["key"], rnd, depth + 1): make(t["elem"], rnd, depth + 1) for _ in range(rnd.randint(0, 3))}
    if k == "{":
        return {key: make(f, rnd, depth + 1) for key, f in t["fields"] if rnd.random() < .9}
    if k == "(":
        return [make(f, rnd, depth + 1) for _, f in t["fields"]]
    raise ValueError(k)

def fits(t, v):
    k = t["kind"]
    if v is None:
        return k in ("?", "map", "any", "bytes", "time") or k == "[]" and t["count"] is None
    if k == "any":
        return True
    if k == "?":
        return fits(t["elem"], v)
    if k == "bool":
        return isinstance(v, bool)
    if re.fullmatch(r"[iu]\d+", k):
        n = bits(k)
        return type(v) is int and (-(1 << n - 1) <= v < 1 << n - 1 if k[0] == "i" else 0 <= v < 1 << n)
    if k in ("f16", "bf16", "f32", "f64"):
        return isinstance(v, float)
    if k == "str":
        return isinstance(v, str)
    if k.startswith("bytes"):
        return isinstance(v, bytes) and (k == "bytes" or len(v) == bits(k))
    if k == "time":
        return isinstance(v, datetime.datetime) and v.tzinfo is not None
    if k == "big":
        return type(v) is int
    if k == "[]":
        return isinstance(v, list) and t["count"] in (None, len(v)) and all(fits(t["elem"], e) for e in v)
    if k == "map":
        return isinstance(v, dict) and all(fits(t["key"], key) and fits(t["elem"], e) for key, e in v.items())
    if k == "{":
        fields = dict(t["fields"])
        return isinstance(v, dict) and all(key in fields and fits(fields[key], e) for key, e in v.items())
    if k == "(":
        return isinstance(v, list) and len(v) == len(t["fields"]) and all(fits(f, e) for (_, f), e in zip(t["fields"], v))
    raise ValueError(k)

def whole(t, v):
    """v with what the page says of what is absent or null: it is zero, or empty."""
    k = t["kind"]
    if v is None:
        return {"[]": [], "map": {}, "bytes": b""}.get(k)
    if k == "?":
        return whole(t["elem"], v)
    if k == "[]":
        return [whole(t["elem"], e) for e in v]
    if k == "map":
        return {key: whole(t["elem"], e) for key, e in v.items()}
    if k == "(":
        return [whole(f, e) for (_, f), e in zip(t["fields"], v)]
    if k == "{":
        return {key: whole(f, v[key]) if key in v else zero(f) for key, f in t["fields"]}
    return v

def differences(a, b):
    """What differs, by its key where both are maps of the same keys."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return ["%r: %r and %r" % (k, a[k], b[k]) for k in a if a[k] != b[k]]
    return ["%r and %r" % (a, b)]

def zero(t):
    k = t["kind"]
    if k == "(":
        return [zero(f) for _, f in t["fields"]]
    if k == "{":
        return {key: zero(f) for key, f in t["fields"]}
    if k == "[]" and t["count"] is not None:
        return [zero(t["elem"]) for _ in range(t["count"])]
    if k in ("[]", "map", "bytes"):
        return {"[]": [], "map": {}, "bytes": b""}[k]
    if k.startswith("bytes"):
        return bytes(bits(k))
    if k in ("?", "any", "time"):
        return None
    return {"bool": False, "str": ""}.get(k, 0)

def main(verb, count="1"):
    for line in sys.stdin:
        shape, _, messages = line.rstrip("\n").partition("\t")
        t = Shape(shape).root
        if verb == "make":
            rnd = random.Random(shape)
            print(" ".join(cbor2.dumps(make(t, rnd), canonical=rnd.random() < .5).hex() for _ in range(int(count))))
            continue
        values = [cbor2.loads(bytes.fromhex(m)) for m in messages.split()]
        bad = [repr(v) for v in values if not fits(t, v)]
        if not bad and any(repr(whole(t, v)) != repr(whole(t, values[0])) and whole(t, v) != whole(t, values[0]) for v in values):
            bad = ["they differ: " + ", ".join(differences(whole(t, values[0]), whole(t, values[-1])))]
        print("; ".join(bad))

main(*sys.argv[1:])
