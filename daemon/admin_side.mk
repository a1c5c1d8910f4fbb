# daemon/store_admin*: statements, cases, enrolment inside the store process
noinst_LIBRARIES += libstoreadmin.a
ROLE_LIBS += libstoreadmin.a
libstoreadmin_a_SOURCES = daemon/store_admin.h daemon/store_admin_int.h daemon/store_admin.c \
	daemon/store_admin_apply.c daemon/store_admin_write.c daemon/store_admin_read.c \
	daemon/store_admin_quota.c
libstoreadmin_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)
