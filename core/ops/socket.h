/* socket.h - a Unix socket to listen on, made so that no other node's is taken away.
 * Threads: from any; it may wait some milliseconds for another node that is just starting. */
#ifndef OPS_SOCKET_H
#define OPS_SOCKET_H
#include <stddef.h>
#include <stdint.h>

/* A listening socket at `path`, mode 0600. A socket there that nobody listens on is taken over. The descriptor, and the
 * file's number in *file; or a negative libuv error, with one line in err; UV_EADDRINUSE: somebody listens there. */
int      socket_listen(const char *path, uint64_t *file, char *err, size_t err_size);
void     socket_remove(const char *path, uint64_t file); /* if it is still that one */
unsigned socket_peer_uid(int fd);
#endif
