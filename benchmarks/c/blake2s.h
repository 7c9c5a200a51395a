/* The MAC of signed requests: keyed BLAKE2s (RFC 7693) of 64 bytes, with a key of 32 and a digest of 16. */
#include <stdint.h>
#include <string.h>

static const uint32_t blake2s_iv[8] = {
	0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
};

static const uint8_t blake2s_sigma[10][16] = {
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	{14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
	{7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
	{2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
	{13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
	{10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint32_t blake2s_turn(uint32_t word, int bits)
{
	return word >> bits | word << (32 - bits);
}

static void blake2s_mix(uint32_t *v, int a, int b, int c, int d, uint32_t x, uint32_t y)
{
	v[a] += v[b] + x;
	v[d] = blake2s_turn(v[d] ^ v[a], 16);
	v[c] += v[d];
	v[b] = blake2s_turn(v[b] ^ v[c], 12);
	v[a] += v[b] + y;
	v[d] = blake2s_turn(v[d] ^ v[a], 8);
	v[c] += v[d];
	v[b] = blake2s_turn(v[b] ^ v[c], 7);
}

static void blake2s_compress(uint32_t h[8], const unsigned char block[64], uint32_t counted, int is_last)
{
	uint32_t v[16], m[16];
	memcpy(m, block, 64);
	memcpy(v, h, 32);
	memcpy(v + 8, blake2s_iv, 32);
	v[12] ^= counted;
	if (is_last)
		v[14] = ~v[14];
	for (int round = 0; round < 10; round++) {
		const uint8_t *s = blake2s_sigma[round];
		for (int i = 0; i < 4; i++)
			blake2s_mix(v, i, 4 + i, 8 + i, 12 + i, m[s[2 * i]], m[s[2 * i + 1]]);
		for (int i = 0; i < 4; i++)
			blake2s_mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[s[8 + 2 * i]],
				    m[s[9 + 2 * i]]);
	}
	for (int i = 0; i < 8; i++)
		h[i] ^= v[i] ^ v[8 + i];
}

/* For machines whose integers have the lowest byte first. */
static void blake2s_mac(unsigned char mac[16], const unsigned char key[32], const unsigned char message[64])
{
	uint32_t h[8];
	unsigned char block[64] = {0};
	memcpy(h, blake2s_iv, 32);
	h[0] ^= 0x01010000 ^ 32 << 8 ^ 16;
	memcpy(block, key, 32);
	blake2s_compress(h, block, 64, 0);
	blake2s_compress(h, message, 128, 1);
	memcpy(mac, h, 16);
}
