# engine/
noinst_LIBRARIES += libengine.a
ENGINE_LOAD_SOURCES = engine/include/engine.h engine/include/chat.h engine/gtype.h engine/gtype.c \
	engine/gguf.h engine/gguf.c engine/gguf_get.c engine/parts.h engine/parts.c engine/gguf_put.h engine/gguf_put.c engine/include/quant.h \
	engine/quant.c engine/quant_rows.h engine/quant_rows.c engine/info.h engine/model_priv.h \
	engine/model_tok.c engine/tok.h engine/tok_priv.h engine/tok.c engine/tok_table.c engine/tok_pre.c \
	engine/tok_merge.c engine/tok_bpe.c engine/tok_spm.c engine/info.c engine/plan.c \
	engine/chat_priv.h engine/chat.c engine/chat_llama.c engine/chat_guard.c
include engine/core.mk
libengine_a_SOURCES = $(ENGINE_LOAD_SOURCES) $(ENGINE_CORE_SOURCES) $(ENGINE_MASK_SOURCES)
libengine_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_ENGINE) -iquote $(top_srcdir)/engine/include $(UTF8PROC_CFLAGS) $(SODIUM_CFLAGS)
ENGINE_LIBS = libengine.a $(BASE_LIBS) $(UTF8PROC_LIBS) -lm -lpthread

if HAVE_CMOCKA
TESTS_ENGINE_CPPFLAGS = $(AM_CPPFLAGS) $(Q_ENGINE) -iquote $(top_srcdir)/engine/include $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS) $(SODIUM_CFLAGS)
check_PROGRAMS += tests/unit/t_gguf
TESTS += tests/unit/t_gguf
tests_unit_t_gguf_SOURCES = tests/unit/t_gguf.c tests/unit/ggufb.h tests/unit/ggufb.c
tests_unit_t_gguf_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_gguf_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += tests/unit/t_tok
TESTS += tests/unit/t_tok
tests_unit_t_tok_SOURCES = tests/unit/t_tok.c tests/unit/ggufb.h tests/unit/ggufb.c
tests_unit_t_tok_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_tok_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += tests/unit/t_vocab
TESTS += tests/unit/t_vocab
tests_unit_t_vocab_SOURCES = tests/unit/t_vocab.c tests/unit/ggufb.h tests/unit/ggufb.c
tests_unit_t_vocab_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_vocab_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += tests/unit/t_chat
TESTS += tests/unit/t_chat
tests_unit_t_chat_SOURCES = tests/unit/t_chat.c tests/unit/ggufb.h tests/unit/ggufb.c
tests_unit_t_chat_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_chat_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += tests/unit/t_split
TESTS += tests/unit/t_split
tests_unit_t_split_SOURCES = tests/unit/t_split.c $(ENGINE_HELP)
tests_unit_t_split_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_split_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += tests/unit/t_quant
TESTS += tests/unit/t_quant
tests_unit_t_quant_SOURCES = tests/unit/t_quant.c $(ENGINE_HELP)
tests_unit_t_quant_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_quant_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += tests/unit/t_plan
TESTS += tests/unit/t_plan
tests_unit_t_plan_SOURCES = tests/unit/t_plan.c tests/unit/ggufb.h tests/unit/ggufb.c
tests_unit_t_plan_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_plan_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
endif

# the fuzz target, and the same file over its stored inputs with any compiler
EXTRA_DIST += fuzz/corpus/gguf/small.gguf fuzz/corpus/gguf/bpe.gguf fuzz/corpus/gguf/spm.gguf \
	fuzz/corpus/gguf/types.gguf fuzz/corpus/gguf/plain.gguf fuzz/corpus/gguf/parts.gguf \
	fuzz/corpus/gguf/nan.gguf fuzz/corpus/gguf/again.gguf
check_PROGRAMS += fuzz/c_gguf
TESTS += fuzz/c_gguf
fuzz_c_gguf_SOURCES = fuzz/fz_gguf.c fuzz/run_corpus.c
fuzz_c_gguf_CPPFLAGS = $(AM_CPPFLAGS) $(Q_ENGINE) -iquote $(top_srcdir)/engine/include -DCORPUS='"gguf"'
fuzz_c_gguf_LDADD = $(ENGINE_LIBS)
if FUZZ
noinst_PROGRAMS += fuzz/fz_gguf
fuzz_fz_gguf_SOURCES = fuzz/fz_gguf.c $(libengine_a_SOURCES)
fuzz_fz_gguf_CPPFLAGS = $(libengine_a_CPPFLAGS)
fuzz_fz_gguf_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_fz_gguf_LDADD = $(BASE_LIBS) $(UTF8PROC_LIBS) -lm -lpthread
endif
include engine/schema.mk
