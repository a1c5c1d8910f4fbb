# daemon/store_*: the store role's request path
noinst_LIBRARIES += libstore.a
ROLE_LIBS += libstore.a
libstore_a_SOURCES = daemon/zone.h daemon/zone.c daemon/quota.h daemon/quota.c daemon/quota_names.c daemon/lease.h \
	daemon/lease.c daemon/store.h daemon/store_ev.h daemon/store_ev.c daemon/store_ev_parse.c \
	daemon/store_fold.h daemon/store_fold.c daemon/store_log.h daemon/store_log.c daemon/store_job.c \
	daemon/store_work.h daemon/store_work.c daemon/store_index.h daemon/store_index.c \
	daemon/store_start.h daemon/store_start.c daemon/store_role.c daemon/store_auth.c \
	daemon/store_gate.c daemon/store_req.c daemon/store_live.c daemon/store_flood.c \
	daemon/store_db.c daemon/store_rcpt.c daemon/store_metrics.c daemon/store_balance.c daemon/store_open.c
libstore_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_quota
TESTS += tests/unit/t_quota
tests_unit_t_quota_SOURCES = tests/unit/t_quota.c
tests_unit_t_quota_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_quota_LDADD = libstore.a $(BASE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/t_store
TESTS += tests/unit/t_store
tests_unit_t_store_SOURCES = tests/unit/t_store.c
tests_unit_t_store_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_store_LDADD = libstore.a libdaemon.a libaudit.a $(WIRE_LIBS) $(JANSSON_LIBS) $(CMOCKA_LIBS) -lpthread

check_PROGRAMS += tests/unit/t_slog
TESTS += tests/unit/t_slog
tests_unit_t_slog_SOURCES = tests/unit/t_slog.c
tests_unit_t_slog_CPPFLAGS = $(tests_unit_t_store_CPPFLAGS)
tests_unit_t_slog_LDADD = $(tests_unit_t_store_LDADD)
endif

STORE_TEST_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) -iquote $(top_srcdir)/tests $(SODIUM_CFLAGS) $(JANSSON_CFLAGS)
STORE_TEST_LIBS = libstore.a libstoreadmin.a libdaemon.a libdb.a libvetting.a libaudit.a $(WIRE_LIBS) \
	$(SQLITE_LIBS) $(JANSSON_LIBS) $(INIH_LIBS) $(SECCOMP_LIBS) -lpthread
STORE_DRV = tests/store_drv.h tests/store_drv.c tests/store_drv_msg.c tests/store_drv_realm.c \
	tests/store_drv_birth.c

# kill -9 of a real store process; make check runs a few cuts, runtests a thousand
check_PROGRAMS += tests/cut_store
TESTS += tests/cut_store
tests_cut_store_SOURCES = tests/cut_store.c $(STORE_DRV)
tests_cut_store_CPPFLAGS = $(STORE_TEST_CPPFLAGS)
tests_cut_store_LDADD = $(STORE_TEST_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += tests/t_store_role tests/t_store_stop
TESTS += tests/t_store_role tests/t_store_stop
tests_t_store_role_SOURCES = tests/t_store_role.c tests/store_rig.h $(STORE_DRV)
tests_t_store_role_CPPFLAGS = $(STORE_TEST_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_t_store_role_LDADD = $(STORE_TEST_LIBS) $(CMOCKA_LIBS)
tests_t_store_stop_SOURCES = tests/t_store_stop.c tests/store_rig.h $(STORE_DRV)
tests_t_store_stop_CPPFLAGS = $(STORE_TEST_CPPFLAGS) $(CMOCKA_CFLAGS)
tests_t_store_stop_LDADD = $(STORE_TEST_LIBS) $(CMOCKA_LIBS)
endif

noinst_PROGRAMS += bench/bench_store
bench_bench_store_SOURCES = bench/bench_store.c bench/count.h $(STORE_DRV)
bench_bench_store_CPPFLAGS = $(STORE_TEST_CPPFLAGS)
bench_bench_store_LDADD = $(STORE_TEST_LIBS)
