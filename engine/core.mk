# kernels, forward pass, KV cache, scheduler, sampler
ENGINE_CORE_SOURCES = engine/include/tools.h engine/kernels.h engine/raw.h engine/ahead.h engine/pack.h engine/pack.c \
	engine/blocks.h engine/kern_port.h engine/kern_pack_portable.c engine/kern.c \
	engine/kern_portable.c engine/kern_avx2.c engine/kern_avx2.h engine/d256.h \
	engine/kern_avx2d.c engine/kern_avx2p.c engine/kern_avx2i.c engine/kern_avx2vnni.c \
	engine/kern_avx512.h engine/kern_avx512.c \
	engine/kern_avx512p.c engine/kern_avx512d.c engine/kern_avx512bf16.c engine/kern_amx.c \
	engine/amx_mul.h engine/cells512.h \
	engine/mul512.h engine/expand.h engine/expand.c \
	engine/expand_avx2.c engine/sampler.h engine/sampler.c engine/pool.h engine/pool.c \
	engine/kv.h engine/kv.c engine/mutant.h engine/weights.h engine/weights.c engine/weights_pack.c \
	engine/matmul.h engine/matmul.c engine/fwd.h engine/fwd.c engine/rope.c engine/attn.c engine/attn_kern.h \
	engine/attnk_portable.c engine/attnk_avx2.c engine/attnk_avx512.c engine/engine_priv.h engine/events.c \
	engine/job.c engine/seq.c engine/submit.c engine/head.c engine/masks.c engine/batch.c engine/engine.c \
	engine/model.c engine/tools.c engine/rates.c
# the scheduler's
ENGINE_CORE_SOURCES += engine/heap.h engine/heap.c engine/sched.h engine/sched.c engine/build.c engine/draft.c
# the prefix cache's
ENGINE_CORE_SOURCES += engine/prefix.h engine/prefix.c engine/prefix_seq.c

if HAVE_CMOCKA
ENGINE_HELP = tests/unit/engine_help.h tests/unit/engine_help.c tests/unit/ref64.c \
	tests/unit/golden.h tests/unit/golden.c tests/unit/ggufb.h tests/unit/ggufb.c \
	tests/unit/qrand.h tests/unit/qrand.c
ENGINE_TEST_LIBS = $(ENGINE_LIBS) $(CMOCKA_LIBS) $(JANSSON_LIBS)
ENGINE_TESTS = tests/unit/t_attn_kern tests/unit/t_attn tests/unit/t_golden tests/unit/t_mutants tests/unit/t_sampler tests/unit/t_kernels tests/unit/t_amx tests/unit/t_weights tests/unit/t_pack \
	tests/unit/t_determinism tests/unit/t_prefix tests/unit/t_prefix_idle tests/unit/t_prefix_text tests/unit/t_prefix_random tests/unit/t_seq tests/unit/t_sched \
	tests/unit/t_storm tests/unit/t_engine_fault tests/unit/t_hostile_model
check_PROGRAMS += $(ENGINE_TESTS)
TESTS += $(ENGINE_TESTS)
tests_unit_t_golden_SOURCES = tests/unit/t_golden.c $(ENGINE_HELP)
tests_unit_t_golden_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_golden_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_sampler_SOURCES = tests/unit/t_sampler.c
tests_unit_t_sampler_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_sampler_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_amx_SOURCES = tests/unit/t_amx.c
tests_unit_t_amx_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_amx_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_kernels_SOURCES = tests/unit/t_kernels.c
tests_unit_t_kernels_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_kernels_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_weights_SOURCES = tests/unit/t_weights.c $(ENGINE_HELP)
tests_unit_t_weights_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_weights_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_pack_SOURCES = tests/unit/t_pack.c
tests_unit_t_pack_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_pack_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_attn_kern_SOURCES = tests/unit/t_attn_kern.c tests/unit/attn_help.h
tests_unit_t_attn_kern_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_attn_kern_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_attn_SOURCES = tests/unit/t_attn.c tests/unit/attn_help.h $(ENGINE_HELP)
tests_unit_t_attn_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_attn_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_determinism_SOURCES = tests/unit/t_determinism.c $(ENGINE_HELP)
tests_unit_t_determinism_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_determinism_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_prefix_SOURCES = tests/unit/t_prefix.c tests/unit/prefix_help.h $(ENGINE_HELP)
tests_unit_t_prefix_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_prefix_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_prefix_idle_SOURCES = tests/unit/t_prefix_idle.c tests/unit/prefix_help.h $(ENGINE_HELP)
tests_unit_t_prefix_idle_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_prefix_idle_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_prefix_text_SOURCES = tests/unit/t_prefix_text.c tests/unit/prefix_help.h $(ENGINE_HELP)
tests_unit_t_prefix_text_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_prefix_text_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_prefix_random_SOURCES = tests/unit/t_prefix_random.c $(ENGINE_HELP)
tests_unit_t_prefix_random_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_prefix_random_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_seq_SOURCES = tests/unit/t_seq.c $(ENGINE_HELP)
tests_unit_t_seq_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_seq_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_sched_SOURCES = tests/unit/t_sched.c $(ENGINE_HELP)
tests_unit_t_sched_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_sched_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_storm_SOURCES = tests/unit/t_storm.c $(ENGINE_HELP)
tests_unit_t_storm_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_storm_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_engine_fault_SOURCES = tests/unit/t_engine_fault.c $(ENGINE_HELP)
tests_unit_t_engine_fault_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_engine_fault_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_hostile_model_SOURCES = tests/unit/t_hostile_model.c $(ENGINE_HELP)
tests_unit_t_hostile_model_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_hostile_model_LDADD = $(ENGINE_TEST_LIBS)
# the scheduler's
ENGINE_SCHED_TESTS = tests/unit/t_preempt tests/unit/t_turns tests/unit/t_draft
check_PROGRAMS += $(ENGINE_SCHED_TESTS)
TESTS += $(ENGINE_SCHED_TESTS)
tests_unit_t_turns_SOURCES = tests/unit/t_turns.c $(ENGINE_HELP)
tests_unit_t_turns_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_turns_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_preempt_SOURCES = tests/unit/t_preempt.c $(ENGINE_HELP)
tests_unit_t_preempt_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_preempt_LDADD = $(ENGINE_TEST_LIBS)
tests_unit_t_draft_SOURCES = tests/unit/t_draft.c $(ENGINE_HELP)
tests_unit_t_draft_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS)
tests_unit_t_draft_LDADD = $(ENGINE_TEST_LIBS)
# its own copies of these files come before the library's
tests_unit_t_mutants_SOURCES = tests/unit/t_mutants.c engine/weights.c engine/fwd.c engine/rope.c engine/attn.c \
	$(ENGINE_HELP)
tests_unit_t_mutants_CPPFLAGS = $(TESTS_ENGINE_CPPFLAGS) -DSP_ENGINE_MUTANTS
tests_unit_t_mutants_LDADD = $(ENGINE_TEST_LIBS)
endif
