# daemon/store_*: the store role's request path
noinst_LIBRARIES += libstore.a
ROLE_LIBS += libstore.a
libstore_a_SOURCES = daemon/zone.h daemon/zone.c daemon/quota.h daemon/quota.c daemon/lease.h \
	daemon/lease.c
libstore_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_quota
TESTS += tests/unit/t_quota
tests_unit_t_quota_SOURCES = tests/unit/t_quota.c
tests_unit_t_quota_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_quota_LDADD = libstore.a $(BASE_LIBS) $(CMOCKA_LIBS)
endif
