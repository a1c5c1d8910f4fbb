# front, gate and admin: what faces people over HTTP
noinst_LIBRARIES += libedge.a
ROLE_LIBS += libedge.a
libedge_a_SOURCES = daemon/http_strict.h daemon/http_strict.c \
	daemon/bearer.h daemon/bearer.c daemon/req_json.h daemon/req_json.c daemon/req_format.c \
	daemon/tls.h daemon/tls.c daemon/pump.h daemon/pump.c daemon/front.h daemon/front_role.c \
	daemon/front_conn.c daemon/reply.h daemon/reply.c daemon/sse.h daemon/sse.c \
	daemon/http.h daemon/http_priv.h daemon/http_mhd.c daemon/http_pump.c daemon/http_server.c \
	daemon/gate.h daemon/gate_role.c daemon/gate_req.c daemon/route.c daemon/ep_chat.c daemon/ep_models.c \
	daemon/ep_enroll.c daemon/ep_receipts.c daemon/ep_health.c daemon/ep_notfound.c daemon/admin_verbs.h daemon/admin_role.c
libedge_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(MHD_CFLAGS) \
	$(OPENSSL_CFLAGS)
EDGE_LIBS = libedge.a libdaemon.a libengine.a $(WIRE_LIBS) $(JANSSON_LIBS) $(MHD_LIBS) $(OPENSSL_LIBS) $(INIH_LIBS) \
	$(SECCOMP_LIBS) -lpthread -lm

if HAVE_CMOCKA
EDGE_TESTS = tests/unit/t_strict tests/unit/t_req_json tests/unit/t_reply tests/unit/t_gate_model
check_PROGRAMS += $(EDGE_TESTS)
TESTS += $(EDGE_TESTS)
EDGE_TEST_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_strict_SOURCES = tests/unit/t_strict.c
tests_unit_t_strict_CPPFLAGS = $(EDGE_TEST_CPPFLAGS)
tests_unit_t_strict_LDADD = $(EDGE_LIBS) $(CMOCKA_LIBS)
tests_unit_t_req_json_SOURCES = tests/unit/t_req_json.c
tests_unit_t_req_json_CPPFLAGS = $(EDGE_TEST_CPPFLAGS)
tests_unit_t_req_json_LDADD = $(EDGE_LIBS) $(CMOCKA_LIBS)
tests_unit_t_reply_SOURCES = tests/unit/t_reply.c
tests_unit_t_reply_CPPFLAGS = $(EDGE_TEST_CPPFLAGS)
tests_unit_t_reply_LDADD = $(EDGE_LIBS) $(CMOCKA_LIBS)
tests_unit_t_gate_model_SOURCES = tests/unit/t_gate_model.c
tests_unit_t_gate_model_CPPFLAGS = $(EDGE_TEST_CPPFLAGS)
tests_unit_t_gate_model_LDADD = $(EDGE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += fuzz/c_http
TESTS += fuzz/c_http
fuzz_c_http_SOURCES = fuzz/fz_http.c fuzz/run_corpus.c
fuzz_c_http_CPPFLAGS = $(EDGE_TEST_CPPFLAGS) -DCORPUS='"http"'
fuzz_c_http_LDADD = $(EDGE_LIBS)
EXTRA_DIST += fuzz/corpus/http
endif

if FUZZ
noinst_PROGRAMS += fuzz/fz_http
fuzz_fz_http_SOURCES = fuzz/fz_http.c
fuzz_fz_http_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS)
fuzz_fz_http_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_fz_http_LDADD = $(EDGE_LIBS)
endif

# front, gate and admin as real roles, driven over TLS; store and engine are doubles on the wire
check_PROGRAMS += tests/edge/rig
tests_edge_rig_SOURCES = tests/edge/rig.c
tests_edge_rig_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS)
tests_edge_rig_LDADD = $(EDGE_LIBS)
TESTS += tests/edge/edge_test.py
EXTRA_DIST += tests/edge/edge_test.py
