/*
 * echo PORT: send back each UDP datagram with one recvfrom and one sendto. The least that a server can do.
 *
 * It listens on 127.0.0.1, on any port for 0, prints the port, and runs until it is killed.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct sockaddr_in own = {.sin_family = AF_INET}, peer;
	socklen_t length = sizeof own;
	char buffer[2048];
	int room = 8 << 20, fd = socket(AF_INET, SOCK_DGRAM, 0);

	own.sin_port = htons(argc > 1 ? atoi(argv[1]) : 0);
	own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) || getsockname(fd, (struct sockaddr *)&own, &length)) {
		perror("echo");
		return 1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	printf("%d\n", ntohs(own.sin_port));
	fflush(stdout);
	for (;;) {
		length = sizeof peer;
		ssize_t size = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&peer, &length);
		if (size >= 0)
			sendto(fd, buffer, size, 0, (struct sockaddr *)&peer, length);
	}
}
