/* err.h - one error type: 0 or a negative code; the detail text goes to the caller's err, once. */
#ifndef SP_BASE_ERR_H
#define SP_BASE_ERR_H

enum {
	E_OK = 0,
	E_NOMEM = -1,
	E_TRUNC = -2,       /* input ends too early */
	E_RANGE = -3,       /* a number, size or count is outside its bounds */
	E_DENIED = -4,      /* not allowed for this caller */
	E_BUSY = -5,        /* no room now; try again later */
	E_FORMAT = -6,      /* malformed input */
	E_IO = -7,          /* the system refused; errno text is in err */
	E_NOTFOUND = -8,
	E_CONFLICT = -9,    /* state or version conflict */
	E_CRYPTO = -10,     /* a signature, tag or digest does not verify */
	E_UNSUPPORTED = -11,
	E_CLOSED = -12,     /* the peer is gone */
	E_TIMEOUT = -13,
	E_CANCELLED = -14,
	E_BUG = -15,        /* we erred */
};

struct err {
	int code;
	char text[320]; /* for people; never client bytes */
};

/* Sets *e (NULL ok) and returns code. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As err_set with E_IO, and ": strerror(errno)" appended. errno is kept. */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " before the text already in *e; returns e->code. For file names, line numbers. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Short lower-case name of a code ("denied"). Static string. */
const char *err_name(int code);

#endif
