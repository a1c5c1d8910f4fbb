# base/: spans, arenas, buffers, cursor, errors, log, clock, secrets, fault points
noinst_LIBRARIES += libbase.a
libbase_a_SOURCES = base/span.h base/err.h base/err.c base/num.h base/cur.h base/buf.h base/buf.c \
	base/fault.h base/fault.c base/arena.h base/arena.c base/log.h base/log.c base/clock.h \
	base/secret.h base/id.h base/id.c base/io.h base/io.c base/hash.h base/hash.c base/sha256.c \
	base/jsonw.h base/jsonw.c base/utf8.h base/utf8.c base/split.h base/split.c
libbase_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_BASE) $(SODIUM_CFLAGS)
BASE_LIBS = libbase.a $(SODIUM_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_base
TESTS += tests/unit/t_base
tests_unit_t_base_SOURCES = tests/unit/t_base.c
tests_unit_t_base_CPPFLAGS = $(AM_CPPFLAGS) $(Q_BASE) $(SODIUM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_base_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
endif
