# the engine role: requests, models, guard, records
noinst_LIBRARIES += libengrole.a
ROLE_LIBS += libengrole.a
libengrole_a_SOURCES = daemon/eng.h daemon/eng.c daemon/eng_load.c daemon/eng_req.c daemon/eng_admit.c \
	daemon/eng_gen.c daemon/eng_rec.c daemon/eng_end.c daemon/engine_role.c
libengrole_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS)

if HAVE_CMOCKA
ENGROLE_TESTS = tests/unit/t_engine_role tests/unit/t_engine_draft tests/unit/t_engine_orders \
	tests/promises/p2_guard tests/promises/p2_gate tests/promises/p7_cache
check_PROGRAMS += $(ENGROLE_TESTS)
TESTS += $(ENGROLE_TESTS)
ENGROLE_RIG = tests/rig/engine_rig.h tests/rig/engine_rig.c tests/rig/engine_doubles.c
ENGROLE_TEST_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) -iquote $(top_srcdir)/tests/rig $(SODIUM_CFLAGS) \
	$(CMOCKA_CFLAGS)
ENGROLE_TEST_LIBS = libengrole.a libdaemon.a libpolicy.a libengine.a $(WIRE_LIBS) $(INIH_LIBS) \
	$(SECCOMP_LIBS) $(UTF8PROC_LIBS) -lpthread -lm $(CMOCKA_LIBS)
tests_unit_t_engine_role_SOURCES = tests/unit/t_engine_role.c $(ENGROLE_RIG)
tests_unit_t_engine_role_CPPFLAGS = $(ENGROLE_TEST_CPPFLAGS)
tests_unit_t_engine_role_LDADD = $(ENGROLE_TEST_LIBS)
tests_unit_t_engine_draft_SOURCES = tests/unit/t_engine_draft.c $(ENGROLE_RIG)
tests_unit_t_engine_draft_CPPFLAGS = $(ENGROLE_TEST_CPPFLAGS)
tests_unit_t_engine_draft_LDADD = $(ENGROLE_TEST_LIBS)
tests_unit_t_engine_orders_SOURCES = tests/unit/t_engine_orders.c $(ENGROLE_RIG)
tests_unit_t_engine_orders_CPPFLAGS = $(ENGROLE_TEST_CPPFLAGS)
tests_unit_t_engine_orders_LDADD = $(ENGROLE_TEST_LIBS)
tests_promises_p2_guard_SOURCES = tests/promises/p2_guard.c tests/rig/gguf_patch.h \
	tests/rig/gguf_patch.c $(ENGROLE_RIG)
tests_promises_p2_guard_CPPFLAGS = $(ENGROLE_TEST_CPPFLAGS)
tests_promises_p2_guard_LDADD = $(ENGROLE_TEST_LIBS)
tests_promises_p2_gate_SOURCES = tests/promises/p2_gate.c $(ENGROLE_RIG)
tests_promises_p2_gate_CPPFLAGS = $(ENGROLE_TEST_CPPFLAGS)
tests_promises_p2_gate_LDADD = $(ENGROLE_TEST_LIBS)
tests_promises_p7_cache_SOURCES = tests/promises/p7_cache.c $(ENGROLE_RIG)
tests_promises_p7_cache_CPPFLAGS = $(ENGROLE_TEST_CPPFLAGS)
tests_promises_p7_cache_LDADD = $(ENGROLE_TEST_LIBS)
endif
