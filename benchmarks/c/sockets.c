/*
 * sockets: open WebSockets to a server on loopback, as pages of y-webrtc or of PeerJS do, and count its messages.
 *
 *   sockets -p PORT [-j] [-n SOCKETS] [-o OPENING] [-w WINDOW] [-u SECONDS] [-t SECONDS] [-c COUNT] [-k]
 *
 *   -j          PeerJS: the sockets are peers, and the first sends to the last. Without it they subscribe to topics of
 *               y-webrtc at /signal: all of them to one if messages are sent, otherwise two each to one
 *   -n SOCKETS  how many (default 2)
 *   -o OPENING  so many handshakes are under way (default 16)
 *   -w WINDOW   so many messages are under way; one is as long as a reader has not got it (default 0: none are sent)
 *   -u SECONDS  messages that are not counted, so that a server which compiles while it runs has done so (default 0.5)
 *   -t SECONDS  how long messages are counted (default 3); -c COUNT: or until so many have come, whichever is first
 *   -k          then keep all sockets open, and answer pings, until the standard input ends
 *
 * It prints one line of JSON: opened (sockets), opening (seconds from the first connection to the last answer to a
 * handshake; of PeerJS, to the last OPEN), messages (those that all of their readers have got), received (by all
 * readers), seconds (in which they were counted), and cpu (seconds of CPU time in these).
 *
 * A message is 300 bytes, a candidate as the library sends it. Frames of this program are masked, as RFC 6455 asks.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 300, HEAD = 2048, ROOM = 1 << 18, EVENTS = 256, TEXT = 1, CLOSE = 8, PING = 9, PATIENCE = 10 };
enum state { CONNECTING, HANDSHAKE, OPENED, READY };

struct page {
	int fd;
	enum state state;
	int head_length; /* of the answer to the handshake, then of a header of a frame */
	char head[HEAD];
	uint64_t skip; /* bytes of a frame's payload that have not come */
};

static struct page *pages;
static int port, count = 2, opened, ready, poller, is_peerjs, with_messages;
static uint64_t received, sent, pings;
static unsigned char frame[MESSAGE + 8];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	fprintf(stderr, "sockets: %s: %s\n", what, errno ? strerror(errno) : "the server did not do what was expected");
	exit(1);
}

/* Everything that is sent fits in the kernel's buffer, since the window is small. */
static void say(struct page *page, const void *data, size_t length)
{
	if (send(page->fd, data, length, MSG_NOSIGNAL) != (ssize_t)length)
		fail("send");
}

/* One frame from a client: masked, with a key that changes the payload. */
static size_t make_frame(unsigned char *out, int opcode, const char *text, size_t length)
{
	static const unsigned char key[4] = {0x12, 0x34, 0x56, 0x78};
	size_t at = 2;
	out[0] = 0x80 | opcode;
	out[1] = 0x80 | (length < 126 ? length : 126);
	if (length >= 126) {
		out[at++] = length >> 8;
		out[at++] = length;
	}
	memcpy(out + at, key, 4);
	at += 4;
	for (size_t i = 0; i < length; i++)
		out[at + i] = text[i] ^ key[i % 4];
	return at + length;
}

static void say_text(struct page *page, const char *text)
{
	unsigned char made[512];
	say(page, made, make_frame(made, TEXT, text, strlen(text)));
}

/* The message that is sent again and again, filled up to its length. */
static void make_message(void)
{
	char text[2 * MESSAGE], *filled;
	int length;
	if (is_peerjs)
		length = snprintf(text, sizeof text,
				  "{\"type\":\"CANDIDATE\",\"payload\":{\"candidate\":{\"candidate\":\"candidate:1467250027 1 udp "
				  "2122260223 192.168.0.196 46243 typ host generation 0\",\"sdpMid\":\"0\",\"sdpMLineIndex\":0},"
				  "\"type\":\"data\",\"connectionId\":\"dc_\"},\"dst\":\"bench-%d-%d\"}",
				  getpid(), count - 1);
	else
		length = snprintf(text, sizeof text,
				  "{\"type\":\"publish\",\"topic\":\"bench\",\"data\":{\"type\":\"signal\",\"from\":\"\",\"to\":\"\","
				  "\"signal\":{\"type\":\"candidate\",\"candidate\":{\"candidate\":\"candidate:1467250027 1 udp "
				  "2122260223 192.168.0.196 46243 typ host\",\"sdpMLineIndex\":0,\"sdpMid\":\"0\"}}}}");
	if (length > MESSAGE)
		fail("the message is too long");
	filled = strstr(text, is_peerjs ? "dc_" : "\"from\":\"") + (is_peerjs ? 3 : 8);
	memmove(filled + MESSAGE - length, filled, strlen(filled) + 1);
	memset(filled, 'f', MESSAGE - length);
	if (make_frame(frame, TEXT, text, MESSAGE) != sizeof frame)
		fail("the frame has another length");
}

static void connect_page(int number)
{
	struct page *page = &pages[number];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	struct epoll_event event = {.events = EPOLLOUT, .data.u32 = number};
	int yes = 1;
	page->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (page->fd < 0)
		fail("socket");
	setsockopt(page->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
	if (connect(page->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
		fail("connect");
	if (epoll_ctl(poller, EPOLL_CTL_ADD, page->fd, &event))
		fail("epoll_ctl");
}

static void shake_hands(int number)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = number};
	char path[128], request[512];
	/* Ids of this run alone: a server keeps what the last one has sent to peers that had gone. */
	if (is_peerjs)
		snprintf(path, sizeof path, "/peerjs?key=peerjs&id=bench-%d-%d&token=t%d&version=1.5.5", getpid(), number,
			 number);
	else
		snprintf(path, sizeof path, "/signal");
	snprintf(request, sizeof request,
		 "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		 "Origin: http://localhost:8000\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		 path, port);
	say(&pages[number], request, strlen(request));
	pages[number].state = HANDSHAKE;
	if (epoll_ctl(poller, EPOLL_CTL_MOD, pages[number].fd, &event))
		fail("epoll_ctl");
}

static void take_text(struct page *page)
{
	if (page->state == READY) {
		received++;
	} else if (is_peerjs) {
		page->state = READY; /* OPEN */
		opened++;
		ready++;
	} else {
		page->state = READY; /* the answer to the ping behind the subscription */
		ready++;
	}
}

/* Read frames, of which the payload is of no interest. */
static void take_frames(struct page *page, const unsigned char *data, size_t size)
{
	while (size) {
		if (page->skip) {
			size_t some = page->skip < size ? page->skip : size;
			page->skip -= some;
			data += some;
			size -= some;
			continue;
		}
		page->head[page->head_length++] = *data++;
		size--;
		unsigned char *head = (unsigned char *)page->head;
		int length = head[1] & 127, whole = length < 126 ? 2 : length == 126 ? 4 : 10;
		if (page->head_length < 2 || page->head_length < whole)
			continue;
		page->skip = length;
		if (length >= 126) {
			page->skip = 0;
			for (int i = 2; i < whole; i++)
				page->skip = page->skip << 8 | head[i];
		}
		page->head_length = 0;
		if ((head[0] & 15) == TEXT) {
			take_text(page);
		} else if ((head[0] & 15) == PING) {
			unsigned char pong[8];
			say(page, pong, make_frame(pong, 10, "", 0));
			pings++;
		} else if ((head[0] & 15) == CLOSE) {
			fail("a socket was closed");
		}
	}
}

static void read_page(struct page *page)
{
	static unsigned char data[ROOM];
	ssize_t size = recv(page->fd, data, sizeof data, MSG_DONTWAIT);
	if (size < 0 && errno == EAGAIN)
		return;
	if (size <= 0)
		fail("a connection was closed");
	unsigned char *rest = data;
	if (page->state == HANDSHAKE) {
		char *end;
		int before = page->head_length, room = HEAD - 1 - before, some = size < room ? size : room;
		memcpy(page->head + before, data, some);
		page->head_length += some;
		page->head[page->head_length] = 0;
		end = strstr(page->head, "\r\n\r\n");
		if (!end && some < size)
			fail("the answer to a handshake is too long");
		if (!end)
			return;
		if (strncmp(page->head, "HTTP/1.1 101", 12)) {
			fprintf(stderr, "%s\n", page->head);
			fail("a handshake was refused");
		}
		page->state = OPENED;
		opened += !is_peerjs;
		rest = data + (end + 4 - page->head) - before;
		page->head_length = 0;
	}
	take_frames(page, rest, data + size - rest);
}

static void look(double patience)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(poller, events, EVENTS, patience * 1000);
	for (int i = 0; i < n; i++) {
		int number = events[i].data.u32;
		if (pages[number].state == CONNECTING)
			shake_hands(number);
		else
			read_page(&pages[number]);
	}
}

static double open_pages(int opening)
{
	double start = now(), last = start;
	int before = 0;
	for (int begun = 0; opened < count;) {
		while (begun < count && begun - opened < opening)
			connect_page(begun++);
		look(0.1);
		if (opened > before)
			last = now();
		before = opened;
		errno = 0;
		if (now() - last > PATIENCE)
			fail("handshakes are not answered");
	}
	return now() - start;
}

static void subscribe(void)
{
	double start = now();
	char text[128];
	for (int i = 0; i < count; i++) {
		if (with_messages)
			snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"topics\":[\"bench\"]}");
		else
			snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"topics\":[\"topic-%d\"]}", i / 2);
		say_text(&pages[i], text);
		say_text(&pages[i], "{\"type\":\"ping\"}");
		if (i % 64 == 63)
			look(0);
	}
	while (ready < count) {
		look(0.1);
		errno = 0;
		if (now() - start > PATIENCE)
			fail("subscriptions are not answered");
	}
}

/* Send messages for a while, so many at one time; gives how many were received. */
static uint64_t exchange(int window, double seconds, uint64_t enough)
{
	static unsigned char frames[64 * sizeof frame];
	int readers = is_peerjs ? 1 : count;
	uint64_t before = received;
	double end = now() + seconds;
	while (now() < end && received - before < enough * readers) {
		uint64_t due = window - (sent - received / readers);
		if (due) {
			for (uint64_t i = 0; i < due; i++)
				memcpy(frames + i * sizeof frame, frame, sizeof frame);
			say(&pages[0], frames, due * sizeof frame);
			sent += due;
		}
		look(0.1);
	}
	return received - before;
}

static double cpu_seconds(void)
{
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void keep(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = count};
	struct epoll_event events[EVENTS];
	if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event))
		fail("epoll_ctl");
	for (;;) {
		int n = epoll_wait(poller, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			if ((int)events[i].data.u32 == count)
				return;
			read_page(&pages[events[i].data.u32]);
		}
	}
}

int main(int argc, char **argv)
{
	int option, opening = 16, window = 0, is_kept = 0;
	double seconds = 3, warm = 0.5;
	uint64_t enough = UINT32_MAX, got = 0;
	while ((option = getopt(argc, argv, "p:jn:o:w:u:t:c:k")) != -1) {
		switch (option) {
		case 'p': port = atoi(optarg); break;
		case 'j': is_peerjs = 1; break;
		case 'n': count = atoi(optarg); break;
		case 'o': opening = atoi(optarg); break;
		case 'w': window = atoi(optarg); break;
		case 'u': warm = atof(optarg); break;
		case 't': seconds = atof(optarg); break;
		case 'c': enough = strtoull(optarg, NULL, 10); break;
		case 'k': is_kept = 1; break;
		default: return 2;
		}
	}
	if (port <= 0 || count < 1 || opening < 1 || window < 0 || window > 64) {
		fprintf(stderr, "sockets: say -p PORT; a window has at most 64 messages\n");
		return 2;
	}
	with_messages = window > 0;
	poller = epoll_create1(0);
	if (!(pages = calloc(count, sizeof *pages)))
		fail("calloc");
	double took = open_pages(opening), spent = 0, used = 0;
	if (!is_peerjs)
		subscribe();
	if (window) {
		make_message();
		exchange(window, warm, UINT32_MAX);
		double start = now(), before = cpu_seconds();
		got = exchange(window, seconds, enough);
		spent = now() - start;
		used = cpu_seconds() - before;
	}
	printf("{\"opened\": %d, \"opening\": %.6f, \"messages\": %llu, \"received\": %llu, \"seconds\": %.6f, \"cpu\": %.6f}\n",
	       opened, took, (unsigned long long)(got / (is_peerjs ? 1 : count)), (unsigned long long)got, spent, used);
	fflush(stdout);
	if (is_kept)
		keep();
	return 0;
}
