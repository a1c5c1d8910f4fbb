# main, the supervisor, what roles share
noinst_LIBRARIES += libdaemon.a
libdaemon_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(INIH_CFLAGS) $(SECCOMP_CFLAGS)
libdaemon_a_SOURCES = daemon/role.h daemon/role.c daemon/evloop.h daemon/evloop.c \
	daemon/fdtab.h daemon/fdtab.c daemon/conf.h daemon/conf.c daemon/sandbox.h daemon/sandbox.c \
	daemon/reasons.h daemon/reasons.c daemon/admin_verbs.h daemon/proc.h daemon/proc.c daemon/super.h \
	daemon/super.c daemon/super_files.c daemon/notify.h daemon/notify.c daemon/version.h


if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_conf
TESTS += tests/unit/t_conf
tests_unit_t_conf_SOURCES = tests/unit/t_conf.c
tests_unit_t_conf_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_conf_LDADD = libdaemon.a $(WIRE_LIBS) $(INIH_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/t_sandbox
TESTS += tests/unit/t_sandbox
tests_unit_t_sandbox_SOURCES = tests/unit/t_sandbox.c
tests_unit_t_sandbox_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_sandbox_LDADD = libdaemon.a $(WIRE_LIBS) $(INIH_LIBS) $(SECCOMP_LIBS) $(CMOCKA_LIBS) -lpthread
endif

sbin_PROGRAMS += sallyportd
sallyportd_SOURCES = daemon/main.c daemon/check.h daemon/check.c
sallyportd_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(OPENSSL_CFLAGS) $(JANSSON_CFLAGS) $(INIH_CFLAGS)
sallyportd_LDADD = $(DAEMON_LIBS)
