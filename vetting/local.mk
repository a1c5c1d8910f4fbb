# vetting/: state machines, guards, statements, genesis, the authority set (pure)
noinst_LIBRARIES += libvetting.a
libvetting_a_SOURCES = vetting/rows.h vetting/rows.c vetting/states.h vetting/states.c \
	vetting/guards.h vetting/guards.c vetting/canon.h vetting/canon.c vetting/settings.h \
	vetting/settings.c vetting/case.c vetting/statement.h vetting/statement.c \
	vetting/genesis.h vetting/genesis.c vetting/words.c vetting/aset.h vetting/aset_priv.h \
	vetting/aset.c vetting/aset_judge.c vetting/aset_feed.c vetting/entry.c vetting/code.h vetting/code.c
libvetting_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_VETTING) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS)
VETTING_LIBS = libvetting.a $(BASE_LIBS) $(JANSSON_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_states tests/unit/t_statement
TESTS += tests/unit/t_states tests/unit/t_statement
tests_unit_t_states_SOURCES = tests/unit/t_states.c
tests_unit_t_states_CPPFLAGS = $(AM_CPPFLAGS) $(Q_VETTING) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_states_LDADD = $(VETTING_LIBS) $(CMOCKA_LIBS)
tests_unit_t_statement_SOURCES = tests/unit/t_statement.c tests/unit/realm_kit.h
tests_unit_t_statement_CPPFLAGS = $(AM_CPPFLAGS) $(Q_VETTING) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_statement_LDADD = $(VETTING_LIBS) $(CMOCKA_LIBS)
endif
