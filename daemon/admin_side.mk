# daemon/store_admin*: statements, cases, enrolment inside the store process
noinst_LIBRARIES += libstoreadmin.a
ROLE_LIBS += libstoreadmin.a
libstoreadmin_a_SOURCES = daemon/store_admin.h daemon/store_admin_int.h daemon/store_admin.c \
	daemon/store_admin_apply.c daemon/store_admin_write.c daemon/store_admin_read.c \
	daemon/store_admin_quota.c daemon/store_admin_outbox.c
libstoreadmin_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_store_admin
TESTS += tests/unit/t_store_admin
tests_unit_t_store_admin_SOURCES = tests/unit/t_store_admin.c tests/unit/admin_kit.h tests/unit/realm_kit.h
tests_unit_t_store_admin_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) -iquote $(top_srcdir)/tests/unit $(SODIUM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_store_admin_LDADD = libstoreadmin.a $(DB_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/promises/p5_nobody_alone
TESTS += tests/promises/p5_nobody_alone
tests_promises_p5_nobody_alone_SOURCES = tests/promises/p5_nobody_alone.c tests/unit/admin_kit.h tests/unit/realm_kit.h
tests_promises_p5_nobody_alone_CPPFLAGS = $(tests_unit_t_store_admin_CPPFLAGS)
tests_promises_p5_nobody_alone_LDADD = $(tests_unit_t_store_admin_LDADD)
endif
