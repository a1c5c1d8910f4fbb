/* tls.h - OpenSSL contexts for the public listener, made from descriptors that main opened.
 * TLS 1.2 and 1.3, http/1.1 (an unknown ALPN goes on without), tickets, optional or required
 * client certificates, one configured SNI name or any. Loop thread of front only. */
#ifndef SP_DAEMON_TLS_H
#define SP_DAEMON_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct tls_cfg {
	int cert_fd, key_fd,
	    ca_fd;	       /* PEM files, borrowed, read from their start; ca_fd may be -1 */
	unsigned client_cert;  /* 0 off, 1 optional, 2 required */
	char server_name[128]; /* "" = any */
};

/* Gives *out; free with SSL_CTX_free (connections keep theirs alive). */
int tls_ctx_new(const struct tls_cfg *c, SSL_CTX **out, struct err *err);
/* SHA-256 of the peer's certificate (DER); false = none was shown. */
bool tls_thumbprint(SSL *ssl, uint8_t out[32]);

#endif
