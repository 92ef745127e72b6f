/* address.h - where nodes listen: HOST:PORT as text, and sockets for them. Sockets are non-blocking and closed on exec.
 * Threads: from any. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define ADDRESS_TEXT 300 /* bytes of HOST:PORT, the 0 too */

/* "127.0.0.1:7101", "[::1]:7101", "host.example:7101" -> both parts, NUL-terminated. False: it is no such text. */
bool address_split(const char *text, char host[ADDRESS_TEXT], int *port);
/* A number, not a name? Then it is in *out. */
bool address_numeric(const char *host, int port, struct sockaddr_storage *out);
bool address_loopback(const struct sockaddr_storage *a);
bool address_any(const struct sockaddr_storage *a); /* 0.0.0.0 or :: */
int  address_port(const struct sockaddr_storage *a);
void address_set_port(struct sockaddr_storage *a, int port);
void address_show(const struct sockaddr_storage *a, char out[ADDRESS_TEXT]);

/* A socket, or a negative libuv error. */
int address_listen(const struct sockaddr_storage *a);
int address_dial(const struct sockaddr_storage *a); /* writable, or in error, when it is done */
int address_accept(int listener, struct sockaddr_storage *who);
#endif
