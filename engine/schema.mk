# JSON Schema to token masks. The automaton knows no model: the fuzz target takes it alone.
SCHEMA_SOURCES = engine/include/mask.h engine/schema_priv.h engine/schema_build.h engine/schema.c \
	engine/schema_json.c engine/schema_kw.c engine/schema_limit.c engine/schema_build.c \
	engine/schema_finish.c engine/schema_re.h engine/schema_re.c engine/schema_dfa.c engine/schema_read.c engine/schema_format.c engine/pda_priv.h engine/pda.c engine/pda_nest.c engine/pda_scalar.c
ENGINE_MASK_SOURCES = $(SCHEMA_SOURCES) engine/mask_trie.c engine/mask.c

if HAVE_CMOCKA
SCHEMA_HELP = tests/unit/json_valid.h tests/unit/json_valid.c
SCHEMA_TESTS = tests/unit/t_schema tests/unit/t_schema_words tests/unit/t_mask tests/unit/t_mask_hook tests/unit/t_masks
check_PROGRAMS += $(SCHEMA_TESTS)
TESTS += $(SCHEMA_TESTS)
tests_unit_t_schema_SOURCES = tests/unit/t_schema.c $(SCHEMA_HELP)
tests_unit_t_schema_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_schema_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_t_schema_words_SOURCES = tests/unit/t_schema_words.c
tests_unit_t_schema_words_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_schema_words_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_t_mask_SOURCES = tests/unit/t_mask.c $(SCHEMA_HELP) tests/unit/mask_help.h tests/unit/mask_help.c $(ENGINE_HELP)
tests_unit_t_mask_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_mask_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_t_mask_hook_SOURCES = tests/unit/t_mask_hook.c $(SCHEMA_HELP) tests/unit/mask_help.h tests/unit/mask_help.c $(ENGINE_HELP)
tests_unit_t_mask_hook_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_mask_hook_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_t_masks_SOURCES = tests/unit/t_masks.c $(ENGINE_HELP)
tests_unit_t_masks_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_masks_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
endif

# the fuzz target, and the same file over its stored inputs with any compiler
EXTRA_DIST += fuzz/corpus/schema/person.json fuzz/corpus/schema/tree.json fuzz/corpus/schema/union.json \
	fuzz/corpus/schema/text.json fuzz/corpus/schema/noprops.json
check_PROGRAMS += fuzz/c_schema
TESTS += fuzz/c_schema
fuzz_c_schema_SOURCES = fuzz/fz_schema.c fuzz/run_corpus.c
fuzz_c_schema_CPPFLAGS = $(AM_CPPFLAGS) $(Q_ENGINE) -iquote $(top_srcdir)/engine/include -DCORPUS='"schema"'
fuzz_c_schema_LDADD = $(ENGINE_LIBS)
if FUZZ
noinst_PROGRAMS += fuzz/fz_schema
fuzz_fz_schema_SOURCES = fuzz/fz_schema.c $(SCHEMA_SOURCES)
fuzz_fz_schema_CPPFLAGS = $(libengine_a_CPPFLAGS)
fuzz_fz_schema_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_fz_schema_LDADD = $(BASE_LIBS) $(UTF8PROC_LIBS) -lm
endif
