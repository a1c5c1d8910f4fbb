# audit/: entries, segments, Merkle tree, tiles, notes, proofs, verify
noinst_LIBRARIES += libaudit.a
libaudit_a_SOURCES = audit/merkle.h audit/merkle.c audit/note.h audit/note.c \
	audit/checkpoint.h audit/checkpoint.c audit/segment.h audit/logw.h
libaudit_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_AUDIT) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS)
AUDIT_LIBS = libaudit.a $(BASE_LIBS) $(JANSSON_LIBS)

if HAVE_CMOCKA
AUDIT_TEST_CPPFLAGS = $(AM_CPPFLAGS) $(Q_AUDIT) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
AUDIT_TEST_LIBS = $(AUDIT_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/t_tlog
TESTS += tests/unit/t_tlog
tests_unit_t_tlog_SOURCES = tests/unit/t_tlog.c
tests_unit_t_tlog_CPPFLAGS = $(AUDIT_TEST_CPPFLAGS)
tests_unit_t_tlog_LDADD = $(AUDIT_TEST_LIBS)
endif
