/*
 * crowd: pulse with very many clients, and record what is acknowledged to each of them.
 *
 *   crowd PORT KEYS RECORD SOCKETS REPLIES PID
 *
 *   PORT     the server's UDP port on loopback
 *   KEYS     a file of keys of 32 bytes, one for each client
 *   RECORD   a file of as many records, which are written: see struct record
 *   SOCKETS  how many sockets; each has one pulse under way at most, so that a reply belongs to a pulse
 *   REPLIES  how many replies to wait for. Then the process PID is killed (SIGKILL) while pulses are under way. With 0
 *            each client pulses once, and nothing is killed
 *
 * The clients pulse in turn, lap after lap. A quarter of them comes from another socket in each lap. A pulse without a
 * reply for a second is lost, and its socket is replaced, so that a reply that comes after all is not mistaken.
 *
 * It prints one line of JSON: replies by kind (first: the first one of a client in this run; steady: from the same socket as the
 * one before; move: from another one), lost pulses, other replies than 1020, and the last client that had one, with its code.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEY = 32, MOST = 4096, ON_TIME = 1020, EVENTS = 256 };
#define PATIENCE 1.0
#define ANY UINT32_MAX

struct record {
	double sent, acked;    /* the last pulse that was acknowledged: when it was sent, and when the reply was read */
	uint32_t port, unsure; /* where it came from; where a later one came from that has no reply: ANY, if several have */
	uint32_t replies, unused;
};

static struct { int fd; uint32_t port; int64_t client; double sent; int64_t block; } sockets[MOST];
static int count, poller, is_dead, under_way;
static int64_t clients, lap;
static uint64_t first, steady, moves, lost, others;
static int64_t other_client = -1;
static uint32_t other_code;
static const unsigned char *keys;
static struct record *records;
static struct sockaddr_in server = {.sin_family = AF_INET};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void open_socket(int which)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = which};
	socklen_t length = sizeof own;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, length) || connect(fd, (struct sockaddr *)&server, length))
		fail("socket");
	if (getsockname(fd, (struct sockaddr *)&own, &length) || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
		fail("socket");
	sockets[which].fd = fd;
	sockets[which].port = ntohs(own.sin_port);
	sockets[which].client = -1;
}

/* The client whose turn it is at a socket in this lap, or -1 if there is none. */
static int64_t next_client(int which)
{
	while (sockets[which].block * count < clients) {
		int64_t block = sockets[which].block++;
		int64_t shift = block % 4 == 0 ? lap % count : 0;
		int64_t client = block * count + (which - shift + count) % count;
		if (client < clients)
			return client;
	}
	return -1;
}

static void send_next(int which)
{
	int64_t client = next_client(which);
	if (client < 0 || is_dead)
		return;
	struct record *record = &records[client];
	/* What is sent may be taken, whatever comes of it here. */
	record->unsure = record->unsure ? ANY : sockets[which].port;
	sockets[which].sent = now();
	if (send(sockets[which].fd, keys + client * KEY, KEY, 0) < 0) {
		is_dead = 1;
		return;
	}
	sockets[which].client = client;
	under_way++;
}

/* Returns whether there was a reply. */
static int receive(int which)
{
	uint32_t code;
	ssize_t got = recv(sockets[which].fd, &code, sizeof code, 0);
	if (got < 0 && errno != EAGAIN)
		is_dead = 1;
	if (got != sizeof code || sockets[which].client < 0)
		return 0;
	struct record *record = &records[sockets[which].client];
	if (ntohl(code) == ON_TIME) {
		*(!record->port ? &first : record->port == sockets[which].port ? &steady : &moves) += 1;
		record->sent = sockets[which].sent;
		record->acked = now();
		record->port = sockets[which].port;
		record->unsure = 0;
		record->replies++;
	} else {
		others++;
		other_client = sockets[which].client;
		other_code = ntohl(code);
	}
	sockets[which].client = -1;
	under_way--;
	return 1;
}

static void give_up_the_late(void)
{
	double late = now() - PATIENCE;
	for (int i = 0; i < count; i++) {
		if (sockets[i].client >= 0 && sockets[i].sent < late) {
			lost++;
			under_way--;
			close(sockets[i].fd);
			open_socket(i);
			send_next(i);
		}
	}
}

static void *map(const char *path, int flags, int protection, size_t size, int64_t *number)
{
	struct stat file;
	int fd = open(path, flags);
	if (fd < 0 || fstat(fd, &file))
		fail(path);
	if (*number && file.st_size / (int64_t)size != *number) {
		fprintf(stderr, "crowd: %s has not one record for each key\n", path);
		exit(1);
	}
	*number = file.st_size / size;
	void *mapped = mmap(NULL, file.st_size, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (mapped == MAP_FAILED)
		fail(path);
	return mapped;
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	if (argc != 7 || (count = atoi(argv[4])) < 1 || count > MOST) {
		fprintf(stderr, "crowd: PORT KEYS RECORD SOCKETS REPLIES PID\n");
		return 2;
	}
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server.sin_port = htons(atoi(argv[1]));
	keys = map(argv[2], O_RDONLY, PROT_READ, KEY, &clients);
	records = map(argv[3], O_RDWR, PROT_READ | PROT_WRITE, sizeof *records, &clients);
	uint64_t enough = strtoull(argv[5], NULL, 10);
	poller = epoll_create1(0);
	for (int i = 0; i < count; i++)
		open_socket(i);
	double looked = now();
	while (!is_dead && (!enough || first + steady + moves + others < enough)) {
		if (!under_way) {
			if (!enough && lap)
				break;
			lap++;
			for (int i = 0; i < count; i++) {
				sockets[i].block = 0;
				send_next(i);
			}
		}
		int n = epoll_wait(poller, events, EVENTS, 100);
		for (int i = 0; i < n; i++) {
			if (receive(events[i].data.u32))
				send_next(events[i].data.u32);
		}
		if (now() > looked + PATIENCE) {
			give_up_the_late();
			looked = now();
		}
	}
	if (enough && !is_dead && kill(atoi(argv[6]), SIGKILL))
		fail("kill");
	/* What the server has sent before its end is here already, or on its way through the kernel. */
	for (int n; enough && (n = epoll_wait(poller, events, EVENTS, 100)) > 0;) {
		for (int i = 0; i < n; i++)
			receive(events[i].data.u32);
	}
	printf("{\"first\": %llu, \"steady\": %llu, \"move\": %llu, \"lost\": %llu, \"others\": %llu, "
	       "\"other_client\": %lld, \"other_code\": %u, \"is_dead\": %d}\n",
	       (unsigned long long)first, (unsigned long long)steady, (unsigned long long)moves, (unsigned long long)lost,
	       (unsigned long long)others, (long long)other_client, other_code, is_dead);
	return 0;
}
