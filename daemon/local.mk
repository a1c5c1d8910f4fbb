# daemon/: main and the roles. One fragment a role; each appends to libdaemon_a_SOURCES.
noinst_LIBRARIES += libdaemon.a
libdaemon_a_SOURCES =
libdaemon_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) -iquote $(top_srcdir)/tests $(SODIUM_CFLAGS) $(OPENSSL_CFLAGS) \
	$(SQLITE_CFLAGS) $(MHD_CFLAGS) $(JANSSON_CFLAGS) $(INIH_CFLAGS) $(SECCOMP_CFLAGS) $(UTF8PROC_CFLAGS)
include daemon/roles.mk
include daemon/edge.mk
include daemon/engine.mk
include daemon/store.mk
include daemon/admin.mk

# order: who uses stands before who is used
DAEMON_LIBS = libdaemon.a libpolicy.a libengine.a libdb.a libvetting.a libaudit.a $(WIRE_LIBS) \
	$(OPENSSL_LIBS) $(SQLITE_LIBS) $(MHD_LIBS) $(JANSSON_LIBS) $(INIH_LIBS) $(SECCOMP_LIBS) \
	$(UTF8PROC_LIBS) -lpthread -lm
