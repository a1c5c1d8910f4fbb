/* tls.c - see tls.h. */
#include "tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <strings.h>
#include <sys/stat.h>

#include "fault.h"
#include "io.h"
#include "secret.h"

#define PEM_MAX (256 * 1024)

static int ssl_err(struct err *err, const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_error());

	ERR_clear_error();
	return err_set(err, E_CRYPTO, "%s: %s", what, why ? why : "refused by OpenSSL");
}

/* Reads a whole PEM file into guarded memory behind a BIO. Both are the caller's to free. */
static int slurp(int fd, const char *what, uint8_t **mem, BIO **bio, struct err *err)
{
	struct stat st;
	int rc;

	if (fd < 0)
		return err_set(err, E_NOTFOUND, "%s: no file was given", what);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "%s", what);
	if (st.st_size <= 0 || st.st_size > PEM_MAX)
		return err_set(err, E_RANGE, "%s: %lld bytes", what, (long long)st.st_size);
	*mem = FAULT("tls.alloc") ? NULL : sodium_malloc((size_t)st.st_size);
	if (*mem == NULL)
		return err_set(err, E_NOMEM, "%s: no memory", what);
	rc = io_pread_all(fd, *mem, (size_t)st.st_size, 0, err);
	if (rc < 0)
		return rc;
	*bio = BIO_new_mem_buf(*mem, (int)st.st_size);
	return *bio ? E_OK : err_set(err, E_NOMEM, "%s: no memory", what);
}

static int no_passphrase(char *buf, int size, int rw, void *arg)
{
	return -1; /* an encrypted key is an error, never a question on a terminal */
}

static int use_chain(SSL_CTX *ctx, BIO *bio, struct err *err)
{
	X509 *x = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
	int ok = x ? SSL_CTX_use_certificate(ctx, x) : 0;

	X509_free(x);
	while (ok == 1 && (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL)
		if ((ok = SSL_CTX_add0_chain_cert(ctx, x)) != 1)
			X509_free(x);
	if (ok != 1)
		return ssl_err(err, "tls-cert");
	ERR_clear_error(); /* the end of the file is an "error" too */
	return E_OK;
}

static int use_key(SSL_CTX *ctx, BIO *bio, struct err *err)
{
	EVP_PKEY *k = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	int ok = k ? SSL_CTX_use_PrivateKey(ctx, k) : 0;

	EVP_PKEY_free(k);
	if (ok != 1)
		return ssl_err(err, "tls-key");
	if (SSL_CTX_check_private_key(ctx) != 1)
		return ssl_err(err, "tls-key does not fit tls-cert");
	return E_OK;
}

static int use_ca(SSL_CTX *ctx, BIO *bio, struct err *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	int n = 0, ok = 1;
	X509 *x;

	while (ok == 1 && (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		ok = X509_STORE_add_cert(store, x) == 1 && SSL_CTX_add_client_CA(ctx, x) == 1;
		X509_free(x);
		n++;
	}
	if (ok != 1 || n == 0)
		return ssl_err(err, "client-ca");
	ERR_clear_error();
	return E_OK;
}

static int from_file(SSL_CTX *ctx, int fd, const char *what,
		     int (*use)(SSL_CTX *, BIO *, struct err *), struct err *err)
{
	uint8_t *mem = NULL;
	BIO *bio = NULL;
	int rc = slurp(fd, what, &mem, &bio, err);

	if (rc == E_OK)
		rc = use(ctx, bio, err);
	BIO_free(bio);
	sodium_free(mem);
	return rc;
}

/* http/1.1 when offered; else the connection goes on without ALPN, never with an alert. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
		   const unsigned char *in, unsigned inlen, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";

	for (unsigned i = 0; i < inlen && (unsigned)in[i] + 1 <= inlen - i; i += in[i] + 1u)
		if (in[i] == ours[0] && memcmp(in + i + 1, ours + 1, ours[0]) == 0) {
			*out = in + i + 1;
			*outlen = ours[0];
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_NOACK;
}

/* arg: the configured name, kept in the context's ex data. Clients by address send none. */
static int on_name(SSL *ssl, int *alert, void *arg)
{
	const char *want = arg, *got = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	if (want == NULL || got == NULL || strcasecmp(want, got) == 0)
		return got && want ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
	*alert = SSL_AD_UNRECOGNIZED_NAME;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void free_name(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long l, void *p)
{
	OPENSSL_free(ptr);
}

static int set_name(SSL_CTX *ctx, const char *name, struct err *err)
{
	static int slot = -1;
	char *copy;

	if (name[0] == '\0')
		return E_OK;
	if (slot < 0)
		slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_name);
	copy = OPENSSL_strdup(name);
	if (slot < 0 || copy == NULL || SSL_CTX_set_ex_data(ctx, slot, copy) != 1) {
		OPENSSL_free(copy);
		return err_set(err, E_NOMEM, "server-name: no memory");
	}
	SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
	SSL_CTX_set_tlsext_servername_arg(ctx, copy);
	return E_OK;
}

static void set_modes(SSL_CTX *ctx, unsigned client_cert)
{
	static const unsigned char context[] = "sallyport";

	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
				     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets carry the session */
	SSL_CTX_set_session_id_context(ctx, context, sizeof(context) - 1);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	if (client_cert)
		SSL_CTX_set_verify(
		    ctx, SSL_VERIFY_PEER | (client_cert == 2 ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
		    NULL);
}

int tls_ctx_new(const struct tls_cfg *c, SSL_CTX **out, struct err *err)
{
	SSL_CTX *ctx = FAULT("tls.ctx") ? NULL : SSL_CTX_new(TLS_server_method());
	int rc;

	ERR_clear_error();
	if (ctx == NULL)
		return ssl_err(err, "tls");
	set_modes(ctx, c->client_cert);
	rc = from_file(ctx, c->cert_fd, "tls-cert", use_chain, err);
	if (rc == E_OK)
		rc = from_file(ctx, c->key_fd, "tls-key", use_key, err);
	if (rc == E_OK && c->client_cert)
		rc = from_file(ctx, c->ca_fd, "client-ca", use_ca, err);
	if (rc == E_OK)
		rc = set_name(ctx, c->server_name, err);
	if (rc < 0)
		SSL_CTX_free(ctx);
	else
		*out = ctx;
	return rc;
}

bool tls_thumbprint(SSL *ssl, uint8_t out[32])
{
	X509 *x = SSL_get1_peer_certificate(ssl);
	unsigned n = 0;
	bool ok = x && X509_digest(x, EVP_sha256(), out, &n) == 1 && n == 32;

	X509_free(x);
	return ok;
}
