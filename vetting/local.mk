# vetting/: state machines, guards, statements, genesis, the authority set (pure)
noinst_LIBRARIES += libvetting.a
libvetting_a_SOURCES = vetting/rows.h vetting/rows.c vetting/states.h vetting/states.c \
	vetting/guards.h vetting/guards.c vetting/canon.h vetting/canon.c vetting/settings.h \
	vetting/settings.c vetting/case.c vetting/statement.h vetting/statement.c \
	vetting/genesis.h vetting/genesis.c vetting/words.c vetting/aset.h vetting/aset_priv.h \
	vetting/aset.c vetting/aset_judge.c vetting/aset_feed.c vetting/aset_keep.c vetting/entry.c vetting/code.h vetting/code.c
libvetting_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_VETTING) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS)
EXTRA_DIST += fuzz/corpus/stmt tests/vectors/statement.json tests/vectors/genesis.json tests/vectors/make_statements.py
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

# the stored inputs of the fuzz target, in every make check
check_PROGRAMS += fuzz/c_stmt
TESTS += fuzz/c_stmt
fuzz_c_stmt_SOURCES = fuzz/fz_stmt.c fuzz/run_corpus.c
fuzz_c_stmt_CPPFLAGS = $(libvetting_a_CPPFLAGS) -DCORPUS='"stmt"'
fuzz_c_stmt_LDADD = $(VETTING_LIBS)
endif
if FUZZ
noinst_PROGRAMS += fuzz/fz_stmt
fuzz_fz_stmt_SOURCES = fuzz/fz_stmt.c $(libvetting_a_SOURCES)
fuzz_fz_stmt_CPPFLAGS = $(libvetting_a_CPPFLAGS)
fuzz_fz_stmt_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_fz_stmt_LDADD = $(BASE_LIBS) $(JANSSON_LIBS)
endif
