/* super_files.c - the descriptors main opens for its roles, so that roles need no paths. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "super.h"

static int open_as(const char *key, const char *path, int flags, int *fd, struct err *err)
{
	*fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	if (*fd < 0)
		return err_sys(err, "%s = %s", key, path);
	return E_OK;
}

static int open_secret(const struct conf *c, const char *name, int *fd, struct err *err)
{
	char path[CONF_PATH + 40];
	struct stat st;
	int rc;

	snprintf(path, sizeof(path), "%s/secret/%s", c->state_dir, name);
	rc = open_as("secret", path, O_RDONLY | O_NOFOLLOW, fd, err);
	if (rc < 0)
		return rc;
	if (fstat(*fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077))
		return err_set(err, E_DENIED, "%s must be a file with mode 0600", path);
	return E_OK;
}

static int listen_tcp(const struct conf *c, int *fd, struct err *err)
{
	struct addrinfo hint = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
				.ai_socktype = SOCK_STREAM};
	struct addrinfo *ai = NULL;
	char port[8];
	int rc, on = 1;

	snprintf(port, sizeof(port), "%u", c->port);
	rc = getaddrinfo(c->address, port, &hint, &ai);
	if (rc != 0)
		return err_set(err, E_FORMAT, "[listen \"public\"] address = %s: %s", c->address,
			       gai_strerror(rc));
	*fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd >= 0)
		setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (*fd < 0 || bind(*fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(*fd, 1024) < 0)
		rc = err_sys(err, "listen on %s port %s", c->address, port);
	freeaddrinfo(ai);
	return rc < 0 ? rc : E_OK;
}

static int listen_unix(const struct conf *c, int *fd, struct err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct stat st;

	if (c->admin_socket[0] == '\0')
		return E_OK;
	if (strlen(c->admin_socket) >= sizeof(sa.sun_path))
		return err_set(err, E_RANGE, "[admin] socket = %s: longer than %zu bytes",
			       c->admin_socket, sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, c->admin_socket, strlen(c->admin_socket) + 1);
	if (lstat(sa.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(sa.sun_path); /* left by an earlier run; its listener is gone or we fail */
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0 || bind(*fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    chmod(sa.sun_path, c->admin_mode) < 0 || listen(*fd, 64) < 0)
		return err_sys(err, "[admin] socket = %s", c->admin_socket);
	return E_OK;
}

static int open_models(const struct conf *c, struct super_files *f, struct err *err)
{
	int rc = E_OK;

	char path[CONF_PATH + 8];

	for (unsigned i = 0; i < c->n_models; i++) {
		unsigned n = split_count(c->model[i].file);

		for (unsigned k = 0; k < n && rc == E_OK; k++) {
			split_path(c->model[i].file, k, path, sizeof(path)); /* as long as it */
			rc = open_as("[model] file", path, O_RDONLY, &f->model[i][k], err);
		}
	}
	return rc;
}

int super_open_files(const struct conf *c, struct super_files *f, bool with_sockets,
		     struct err *err)
{
	int rc;

	memset(f, 0xff, sizeof(*f)); /* every descriptor -1 */
	rc = open_as("state-dir", c->state_dir, O_RDONLY | O_DIRECTORY, &f->state_dir, err);
	if (rc == E_OK)
		rc = open_as("log-dir", c->log_dir, O_RDONLY | O_DIRECTORY, &f->log_dir, err);
	if (rc == E_OK)
		rc = open_as("genesis", c->genesis, O_RDONLY, &f->genesis, err);
	if (rc == E_OK)
		rc = open_secret(c, "log-key", &f->secret_log_key, err);
	if (rc == E_OK)
		rc = open_secret(c, "pepper", &f->secret_pepper, err);
	if (rc == E_OK)
		rc = open_secret(c, "kek", &f->secret_kek, err);
	if (rc == E_OK)
		rc = open_as("tls-cert", c->tls_cert, O_RDONLY, &f->tls_cert, err);
	if (rc == E_OK)
		rc = open_as("tls-key", c->tls_key, O_RDONLY, &f->tls_key, err);
	if (rc == E_OK && c->client_ca[0])
		rc = open_as("client-ca", c->client_ca, O_RDONLY, &f->client_ca, err);
	if (rc == E_OK)
		rc = open_as("policy", c->policy_file, O_RDONLY, &f->policy, err);
	if (rc == E_OK)
		rc = open_models(c, f, err);
	if (rc == E_OK && with_sockets)
		rc = listen_tcp(c, &f->listen_public, err);
	if (rc == E_OK && with_sockets)
		rc = listen_unix(c, &f->listen_admin, err);
	if (rc < 0)
		super_close_files(f);
	return rc;
}

void super_close_files(struct super_files *f)
{
	int *fd = (int *)f;

	for (size_t i = 0; i < sizeof(*f) / sizeof(int); i++)
		if (fd[i] >= 0) {
			close(fd[i]);
			fd[i] = -1;
		}
}
