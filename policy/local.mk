# policy/: what may pass: normalisation, detectors, the classifier, decisions, the release gate
noinst_LIBRARIES += libpolicy.a
libpolicy_a_SOURCES = policy/normalise.h policy/normalise.c policy/lookalike.c policy/neutralise.h \
	policy/neutralise.c policy/detectors.h policy/detectors.c policy/commit.h \
	policy/policy_file.h policy/policy_file.c policy/decide.h policy/decide.c \
	policy/prompt.h policy/prompt.c policy/guard.h policy/guard_priv.h policy/guard.c \
	policy/reading.c policy/selftest.c policy/selftest_prompts.h policy/scan.h policy/scan.c \
	policy/pace.h policy/release.h policy/release.c
libpolicy_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_POLICY) $(SODIUM_CFLAGS) $(UTF8PROC_CFLAGS) $(INIH_CFLAGS)
POLICY_LIBS = libpolicy.a $(ENGINE_LIBS) $(INIH_LIBS)


if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_policy
TESTS += tests/unit/t_policy
tests_unit_t_policy_SOURCES = tests/unit/t_policy.c
tests_unit_t_policy_CPPFLAGS = $(AM_CPPFLAGS) $(Q_POLICY) $(SODIUM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_policy_LDADD = libpolicy.a $(BASE_LIBS) $(UTF8PROC_LIBS) $(INIH_LIBS) -lm $(CMOCKA_LIBS)
endif

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_release tests/unit/t_guard
TESTS += tests/unit/t_release tests/unit/t_guard
tests_unit_t_release_SOURCES = tests/unit/t_release.c
tests_unit_t_release_CPPFLAGS = $(AM_CPPFLAGS) $(Q_POLICY) $(CMOCKA_CFLAGS)
tests_unit_t_release_LDADD = libpolicy.a $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_t_guard_SOURCES = tests/unit/t_guard.c
tests_unit_t_guard_CPPFLAGS = $(AM_CPPFLAGS) $(Q_POLICY) $(SODIUM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_guard_LDADD = $(POLICY_LIBS) $(CMOCKA_LIBS)
endif

EXTRA_DIST += fuzz/corpus/policy/sample.conf fuzz/corpus/policy/text
if HAVE_CMOCKA
check_PROGRAMS += fuzz/c_policy
TESTS += fuzz/c_policy
fuzz_c_policy_SOURCES = fuzz/fz_policy.c fuzz/run_corpus.c
fuzz_c_policy_CPPFLAGS = $(libpolicy_a_CPPFLAGS) -DCORPUS='"policy"'
fuzz_c_policy_LDADD = $(POLICY_LIBS)
endif
if FUZZ
noinst_PROGRAMS += fuzz/fz_policy
fuzz_fz_policy_SOURCES = fuzz/fz_policy.c $(libpolicy_a_SOURCES)
fuzz_fz_policy_CPPFLAGS = $(libpolicy_a_CPPFLAGS)
fuzz_fz_policy_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_fz_policy_LDADD = $(ENGINE_LIBS) $(INIH_LIBS)
endif
