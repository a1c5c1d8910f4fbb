# daemon/: what roles share (libdaemon.a), and one fragment a role; each makes its own library and
# names it in ROLE_LIBS (who uses stands before who is used).
ROLE_LIBS =
include daemon/roles.mk
include daemon/edge.mk
include daemon/engine.mk
include daemon/store.mk
include daemon/admin_side.mk
include daemon/admin.mk

DAEMON_LIBS = $(ROLE_LIBS) libdaemon.a libpolicy.a libengine.a libdb.a libvetting.a libaudit.a $(WIRE_LIBS) \
	$(OPENSSL_LIBS) $(SQLITE_LIBS) $(MHD_LIBS) $(JANSSON_LIBS) $(INIH_LIBS) $(SECCOMP_LIBS) \
	$(UTF8PROC_LIBS) -lpthread -lm
