# daemon/: what roles share (libdaemon.a), and one fragment a role; each makes its own library and
# names it in ROLE_LIBS (who uses stands before who is used).
ROLE_LIBS =
include daemon/roles.mk
include daemon/edge.mk
include daemon/engine.mk
include daemon/store.mk
include daemon/admin.mk

DAEMON_LIBS = $(ROLE_LIBS) libdaemon.a libpolicy.a libengine.a libdb.a libvetting.a libaudit.a $(WIRE_LIBS) \
	$(OPENSSL_LIBS) $(SQLITE_LIBS) $(MHD_LIBS) $(JANSSON_LIBS) $(INIH_LIBS) $(SECCOMP_LIBS) \
	$(UTF8PROC_LIBS) -lpthread -lm
# front, gate and admin: what faces people over HTTP
noinst_LIBRARIES += libedge.a
libedge_a_SOURCES = daemon/reasons.h daemon/reasons.c daemon/http_strict.h daemon/http_strict.c \
	daemon/bearer.h daemon/bearer.c daemon/req_json.h daemon/req_json.c
libedge_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(MHD_CFLAGS) \
	$(OPENSSL_CFLAGS)
EDGE_LIBS = libedge.a $(WIRE_LIBS) $(JANSSON_LIBS) $(MHD_LIBS) $(OPENSSL_LIBS) -lm

if HAVE_CMOCKA
EDGE_TESTS = tests/unit/t_strict tests/unit/t_req_json
check_PROGRAMS += $(EDGE_TESTS)
TESTS += $(EDGE_TESTS)
EDGE_TEST_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_strict_SOURCES = tests/unit/t_strict.c
tests_unit_t_strict_CPPFLAGS = $(EDGE_TEST_CPPFLAGS)
tests_unit_t_strict_LDADD = $(EDGE_LIBS) $(CMOCKA_LIBS)
tests_unit_t_req_json_SOURCES = tests/unit/t_req_json.c
tests_unit_t_req_json_CPPFLAGS = $(EDGE_TEST_CPPFLAGS)
tests_unit_t_req_json_LDADD = $(EDGE_LIBS) $(CMOCKA_LIBS)
endif

if FUZZ
noinst_PROGRAMS += fuzz/fz_http
fuzz_fz_http_SOURCES = fuzz/fz_http.c
fuzz_fz_http_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS)
fuzz_fz_http_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_fz_http_LDADD = $(EDGE_LIBS)
endif
