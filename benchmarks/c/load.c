/*
 * load: send UDP datagrams to a server on loopback, and count and time its replies.
 *
 *   load -p PORT [-k KEYS [-l LENGTH] | -g CLIENTS | -b] [-s SOCKETS] [-o OFFSET] [-a PORT] [-w WINDOW] [-r RATE] [-t SECONDS]
 *        [-c COUNT] [-6]
 *
 *   -k KEYS     a file of datagrams of equal length: each is sent in turn, the first again after the last
 *   -l LENGTH   bytes of each of them, at most 512 (default 32, a key)
 *   -g CLIENTS  a file of clients, each an id of 16 bytes and a datagram key of 32: send signed pulses of each in turn
 *   -b          send STUN Bindings, each with a transaction id of its own
 *   -s SOCKETS  spread clients over so many sockets; client i always sends from socket (i + OFFSET) mod SOCKETS, so
 *               that another OFFSET moves each client to another port (default 1)
 *   -a PORT     the first socket's local port; the others follow (default: any ports). Another PORT moves clients too
 *   -w WINDOW   closed loop: so many datagrams are under way (default 256)
 *   -r RATE     open loop: so many datagrams a second, whether they are answered or not
 *   -t SECONDS  how long (default 5); -c COUNT: or until so many replies have come, whichever is first
 *
 * It prints one line of JSON: seconds, sent, replies, lost, codes (replies by their first four bytes as a number, at
 * most 16 of them; all of STUN's are "stun", and those of signed replies are "signed CODE"), and the 50th, 99th and 99.9th percentile and the maximum of the time from
 * sending to reading a reply, in microseconds.
 *
 * Replies to pulses do not name the client, so replies are matched to requests by their order on each socket. If some are
 * lost, the times shown are therefore longer than they were. A closed loop that has waited for 200 ms counts what is
 * under way as lost and goes on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blake2s.h"

enum { BATCH = 64, MAX_SOCKETS = 4096, RING = 1 << 16, BUCKETS = 4096, CODES = 16, PATIENCE = 200000000 };

struct ring {
	uint32_t head, tail;
	uint64_t *sent; /* when each datagram that has had no reply yet was sent */
};

static int sockets = 1, fds[MAX_SOCKETS], poller;
static struct ring rings[MAX_SOCKETS];
static uint64_t sent, replies, lost, under_way, buckets[BUCKETS], slowest;
static struct { uint32_t code; uint64_t count; } codes[CODES];
static int bindings, is_signed;
static uint64_t *times; /* of the last signed pulse of each client, in ms since the epoch */
static const unsigned char *keys;
static uint64_t key_count, offset, key_length = 32;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Latencies go to buckets that are 1/64 of their power of two wide, so percentiles are exact to some 1.5 percent. */
static int bucket_of(uint64_t ns)
{
	if (ns < 64)
		return ns;
	int power = 63 - __builtin_clzll(ns);
	int bucket = (power - 5) * 64 + ((ns >> (power - 6)) & 63);
	return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double bucket_us(int bucket)
{
	if (bucket < 64)
		return bucket / 1000.0;
	int power = bucket / 64 + 5;
	return ((1ull << power) + ((uint64_t)(bucket & 63) << (power - 6))) / 1000.0;
}

static double percentile(double part)
{
	uint64_t below = 0, goal = replies * part;
	for (int i = 0; i < BUCKETS; i++) {
		below += buckets[i];
		if (below > goal)
			return bucket_us(i);
	}
	return slowest / 1000.0;
}

static void open_sockets(int family, int port, int local)
{
	poller = epoll_create1(0);
	for (int i = 0; i < sockets; i++) {
		struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
		struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		struct sockaddr *to = family == AF_INET6 ? (struct sockaddr *)&six : (struct sockaddr *)&four;
		socklen_t length = family == AF_INET6 ? sizeof six : sizeof four;
		int room = 8 << 20, fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
		if (fd < 0)
			fail("socket");
		six.sin6_port = four.sin_port = htons(local ? local + i : 0);
		if (bind(fd, to, length))
			fail("bind");
		six.sin6_port = four.sin_port = htons(port);
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
		if (connect(fd, to, length) || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
			fail("connect");
		fds[i] = fd;
		rings[i].sent = malloc(RING * sizeof *rings[i].sent);
	}
}

static void count_code(uint32_t code)
{
	for (int i = 0; i < CODES; i++) {
		if (codes[i].count == 0 || codes[i].code == code || i == CODES - 1) {
			codes[i].code = code;
			codes[i].count++;
			return;
		}
	}
}

/* A client never sends two signed pulses with one time, not even within a millisecond. */
static void make_signed(unsigned char datagram[80], uint64_t number)
{
	struct timespec t;
	const unsigned char *client = keys + number % key_count * key_length;
	uint64_t *last = &times[number % key_count], ms;
	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	ms = t.tv_sec * 1000ull + t.tv_nsec / 1000000;
	*last = ms > *last ? ms : *last + 1;
	memset(datagram, 0, 64);
	memcpy(datagram, "\x0b\1", 2);
	memcpy(datagram + 4, client, 16);
	for (int i = 0; i < 8; i++)
		datagram[20 + i] = *last >> (56 - 8 * i);
	memcpy(datagram + 28, &number, 8);
	blake2s_mac(datagram + 64, client + 16, datagram);
}

/* Send the next datagrams, in their order; those for one socket in a row go with one system call. */
static uint64_t send_some(uint64_t count)
{
	static struct mmsghdr messages[BATCH];
	static struct iovec vectors[BATCH];
	static unsigned char binding[BATCH][20], request[BATCH][80];
	uint64_t done = 0;
	while (done < count) {
		int socket = (sent + offset) % sockets, n = 0;
		uint64_t time = now_ns();
		struct ring *ring = &rings[socket];
		do {
			uint64_t number = sent + n;
			if (bindings) {
				memcpy(binding[n], "\0\1\0\0\x21\x12\xa4\x42", 8);
				memcpy(binding[n] + 8, &number, 8);
				vectors[n] = (struct iovec){binding[n], 20};
			} else if (is_signed) {
				make_signed(request[n], number);
				vectors[n] = (struct iovec){request[n], 80};
			} else {
				vectors[n] = (struct iovec){(void *)(keys + number % key_count * key_length), key_length};
			}
			messages[n].msg_hdr = (struct msghdr){.msg_iov = &vectors[n], .msg_iovlen = 1};
			n++;
		} while (sockets == 1 && n < BATCH && done + n < count);
		int taken = sendmmsg(fds[socket], messages, n, 0);
		if (taken < 0) {
			if (errno == EAGAIN || errno == ENOBUFS || errno == ECONNREFUSED)
				break;
			fail("sendmmsg");
		}
		for (int i = 0; i < taken; i++) {
			ring->sent[ring->tail++ % RING] = time;
			if (ring->tail - ring->head > RING)
				ring->head++;
		}
		sent += taken;
		done += taken;
		under_way += taken;
	}
	return done;
}

static void read_socket(int socket)
{
	static struct mmsghdr messages[BATCH];
	static struct iovec vectors[BATCH];
	static unsigned char data[BATCH][512];
	struct ring *ring = &rings[socket];
	int n;
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){data[i], sizeof data[i]};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	do {
		n = recvmmsg(fds[socket], messages, BATCH, MSG_DONTWAIT, NULL);
		if (n < 0 && errno != EAGAIN && errno != ECONNREFUSED && errno != EINTR)
			fail("recvmmsg");
		uint64_t time = now_ns();
		for (int i = 0; i < n; i++) {
			uint32_t code;
			if (messages[i].msg_len < 4)
				continue;
			memcpy(&code, data[i], 4);
			count_code(ntohl(code));
			replies++;
			if (under_way)
				under_way--;
			if (ring->head != ring->tail) {
				uint64_t took = time - ring->sent[ring->head++ % RING];
				buckets[bucket_of(took)]++;
				if (took > slowest)
					slowest = took;
			}
		}
	} while (n == BATCH);
}

/* Read what has come; wait for it for at most so many nanoseconds. */
static int read_some(int64_t wait)
{
	struct epoll_event events[64];
	struct timespec patience = {wait / 1000000000, wait % 1000000000};
	int n = epoll_pwait2(poller, events, 64, &patience, NULL);
	for (int i = 0; i < n; i++)
		read_socket(events[i].data.u32);
	return n;
}

static void give_up(void)
{
	lost += under_way;
	under_way = 0;
	for (int i = 0; i < sockets; i++)
		rings[i].head = rings[i].tail;
}

static void read_keys(const char *path)
{
	struct stat file;
	int fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &file))
		fail(path);
	key_count = file.st_size / key_length;
	if (!key_count) {
		fprintf(stderr, "load: %s is too short\n", path);
		exit(1);
	}
	keys = mmap(NULL, file.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (keys == MAP_FAILED)
		fail(path);
}

int main(int argc, char **argv)
{
	int option, port = 0, local = 0, window = 256, family = AF_INET;
	double seconds = 5, rate = 0;
	uint64_t enough = UINT64_MAX;
	const char *path = NULL;
	while ((option = getopt(argc, argv, "p:k:l:g:bs:o:a:w:r:t:c:6")) != -1) {
		switch (option) {
		case 'p': port = atoi(optarg); break;
		case 'k': path = optarg; break;
		case 'l': key_length = strtoull(optarg, NULL, 10); break;
		case 'g': path = optarg; is_signed = 1; key_length = 48; break;
		case 'b': bindings = 1; break;
		case 's': sockets = atoi(optarg); break;
		case 'o': offset = strtoull(optarg, NULL, 10); break;
		case 'a': local = atoi(optarg); break;
		case 'w': window = atoi(optarg); break;
		case 'r': rate = atof(optarg); break;
		case 't': seconds = atof(optarg); break;
		case 'c': enough = strtoull(optarg, NULL, 10); break;
		case '6': family = AF_INET6; break;
		default: return 2;
		}
	}
	if (port <= 0 || sockets < 1 || sockets > MAX_SOCKETS || window < 1 || window > RING || key_length < 1 ||
	    key_length > 512 || !bindings == !path) {
		fprintf(stderr, "load: say -p PORT and one of -k KEYS, -g CLIENTS and -b; sockets, window and length must be in range\n");
		return 2;
	}
	if (path)
		read_keys(path);
	if (is_signed && !(times = calloc(key_count, sizeof *times)))
		fail("calloc");
	/* With several sockets a client must come round to the same one: the number of keys must be a multiple. */
	if (keys && key_count % sockets) {
		fprintf(stderr, "load: the number of keys is no multiple of the number of sockets\n");
		return 2;
	}
	open_sockets(family, port, local);
	uint64_t start = now_ns(), end = start + seconds * 1e9, quiet = start, time = start;
	while (time < end && replies < enough) {
		uint64_t due;
		if (rate > 0)
			due = (time - start) * rate / 1e9 - sent;
		else
			due = under_way < (uint64_t)window ? window - under_way : 0;
		if (enough != UINT64_MAX && due > enough - replies - under_way)
			due = enough - replies - under_way;
		if (due > 0 && due < 1ull << 40)
			send_some(due);
		uint64_t before = replies;
		read_some(rate > 0 ? 50000 : 20000000);
		time = now_ns();
		if (replies != before)
			quiet = time;
		if (rate <= 0 && time - quiet > PATIENCE) {
			give_up();
			quiet = time;
		}
	}
	double took = (now_ns() - start) / 1e9;
	/* What is still under way is not lost, unless it does not come at all. */
	uint64_t counted = replies;
	for (time = now_ns(); under_way && now_ns() - time < PATIENCE;)
		read_some(20000000);
	if (rate > 0)
		lost = sent - replies;
	else
		lost += under_way;
	printf("{\"seconds\": %.6f, \"sent\": %llu, \"replies\": %llu, \"lost\": %llu, \"p50\": %.1f, \"p99\": %.1f, "
	       "\"p999\": %.1f, \"max\": %.1f, \"codes\": {",
	       took, (unsigned long long)sent, (unsigned long long)counted, (unsigned long long)lost, percentile(.5),
	       percentile(.99), percentile(.999), slowest / 1000.0);
	for (int i = 0; i < CODES && codes[i].count; i++) {
		uint32_t top = codes[i].code >> 16;
		const char *comma = i ? ", " : "";
		if (bindings && top == 0x0101)
			printf("%s\"stun\": %llu", comma, (unsigned long long)codes[i].count);
		else if (top == 0x0b81)
			printf("%s\"signed %u\": %llu", comma, codes[i].code & 0xffff, (unsigned long long)codes[i].count);
		else
			printf("%s\"%u\": %llu", comma, codes[i].code, (unsigned long long)codes[i].count);
	}
	printf("}}\n");
	return 0;
}
