"""Reads a key of a store with stock Python, from docs/layout.md alone: python read.py FILE KEY...

Prints one line a key: its format, revision and value, or "none".
"""
import mmap
import struct
import sys
import time

M = (1 << 64) - 1


def rotl(x, n):
    return (x << n | x >> (64 - n)) & M


def siphash13(k0, k1, data):
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(n):
        v0, v1, v2, v3 = v
        for _ in range(n):
            v0 = (v0 + v1) & M
            v2 = (v2 + v3) & M
            v1 = rotl(v1, 13) ^ v0
            v3 = rotl(v3, 16) ^ v2
            v0 = rotl(v0, 32)
            v2 = (v2 + v1) & M
            v0 = (v0 + v3) & M
            v1 = rotl(v1, 17) ^ v2
            v3 = rotl(v3, 21) ^ v0
            v2 = rotl(v2, 32)
        v[:] = v0, v1, v2, v3

    end = len(data) // 8 * 8
    words = list(struct.unpack("<%dQ" % (end // 8), data[:end]))
    words.append(int.from_bytes(data[end:], "little") | (len(data) & 0xFF) << 56)
    for m in words:
        v[3] ^= m
        rounds(1)
        v[0] ^= m
    v[2] ^= 0xFF
    rounds(3)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


class Store:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        magic, layout, kind, size = struct.unpack_from("<8sIIQ", self.m, 0)
        if magic != b"SHIPLAP\0" or layout != 2 or kind != 12 or size != len(self.m):
            raise ValueError("no store")
        self.buckets, self.log, self.locks, _, self.k0, self.k1, self.stripes = struct.unpack_from("<7Q", self.m, 64)
        self.at = 8192 + 2048 * self.stripes + 8 * self.log + 192 * self.locks

    def u64(self, off):
        return struct.unpack_from("<Q", self.m, off)[0]

    def get(self, key):
        h = siphash13(self.k0, self.k1, key)
        bucket = self.at + 64 * (h % self.buckets)
        stripe = h % self.buckets * self.stripes // self.buckets
        while True:
            epoch, head = self.u64(5256), self.u64(bucket)
            cleared = self.u64(5312 + epoch % 2 * 64 + 8 * stripe)
            found = self.search(key, h >> 48, bucket, head, cleared)
            if self.u64(bucket) == head and self.u64(5256) == epoch:
                return found

    def search(self, key, tag, bucket, head, cleared):
        slots, link = [bucket + 8 + 8 * i for i in range(7)], head >> 32
        while True:
            for slot in slots:
                word = self.u64(slot)
                entry = 64 * (word & 0xFFFFFFFF)
                if word >> 48 != tag or entry == 0:
                    continue
                revision, expiry, lengths = struct.unpack_from("<QQQ", self.m, entry + 8)
                n, form, size = lengths & 0xFFFFFF, lengths >> 24 & 0xFF, lengths >> 32
                if self.m[entry + 32 : entry + 32 + n] != key:
                    continue
                if revision <= cleared or 0 < expiry <= time.time_ns():
                    return None
                value = entry + 32 + (n + 7) // 8 * 8
                return form, revision, self.m[value : value + size]
            if link == 0:
                return None
            slots, link = [64 * link + 16 + 8 * i for i in range(6)], self.u64(64 * link + 8) >> 32


store = Store(sys.argv[1])
for key in sys.argv[2:]:
    got = store.get(key.encode())
    print("none" if got is None else "%d %d %s" % (got[0], got[1], got[2].decode()))
