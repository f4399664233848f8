// Envelopes, written from docs/layout.md alone.
#pragma once
#include "base.h"

// Section 8.5.
#define ENVELOPE ((u64)1 << 33)

static int show; // print envelopes before bodies
static u64 bits; // what headers of records that are put have in addition

// Where the body begins of a payload in private memory.
static inline u64 body_of(const u8 *payload, u64 h) {
	if (!(h & ENVELOPE)) return 0;
	u32 n = 0;
	if ((h & 0xffffffff) >= 8) memcpy(&n, payload, 4);
	if (n < 8 || n % 8 || n > 65536 || n > (h & 0xffffffff)) corrupt("envelope length");
	return n;
}
static inline void print_envelope(const u8 *block, u64 n) {
	u32 entries, value;
	uint16_t key;
	memcpy(&entries, block + 4, 4);
	if (entries > 64) die("undecodable: entries");
	for (u64 at = 8; entries--; at += 6 + (u64)key + value) {
		if (n - at < 6) die("undecodable: an entry");
		memcpy(&value, block + at, 4);
		memcpy(&key, block + at + 4, 2);
		if (key < 1 || key > 255 || (u64)key + value > n - at - 6) die("undecodable: an entry");
		fwrite(block + at + 6, 1, key, stdout), putchar('=');
		fwrite(block + at + 6 + key, 1, value, stdout), putchar(' ');
	}
}
static inline void print_message(const u8 *payload, u64 h) {
	u64 n = h & 0xffffffff, body = body_of(payload, h);
	if (show && body) print_envelope(payload, body);
	fwrite(payload + body, 1, n - body, stdout), putchar('\n');
}
// A payload of n bytes in front of which stands an envelope of one entry, "key=value".
static inline char *enveloped(const char *pair, const char *text, u64 n, u64 *all) {
	static char *payload;
	const char *value = strchr(pair, '=') + 1;
	uint16_t key = (uint16_t)(value - 1 - pair);
	u32 one = 1, length = (u32)strlen(value), block = (8 + 6 + key + length + 7) / 8 * 8;
	free(payload);
	if (!(payload = calloc(1, block + n))) die("no memory");
	memcpy(payload, &block, 4);
	memcpy(payload + 4, &one, 4);
	memcpy(payload + 8, &length, 4);
	memcpy(payload + 12, &key, 2);
	memcpy(payload + 14, pair, key);
	memcpy(payload + 14 + key, value, length);
	memcpy(payload + block, text, n);
	bits = ENVELOPE;
	*all = block + n;
	return payload;
}
