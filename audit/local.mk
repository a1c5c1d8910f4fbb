# audit/: entries, segments, Merkle tree, tiles, notes, proofs, verify
noinst_LIBRARIES += libaudit.a
libaudit_a_SOURCES = audit/merkle.h audit/merkle.c audit/note.h audit/note.c \
	audit/checkpoint.h audit/checkpoint.c audit/segment.h audit/segment.c \
	audit/logdir.h audit/logdir.c audit/logr.c audit/tile.h audit/tile.c audit/publish.c \
	audit/logw.h audit/logw_int.h audit/logw.c audit/logw_new.c audit/logw_open.c audit/logw_space.c \
	audit/entry.h audit/entry.c audit/verify.h audit/verify_int.h audit/verify.c \
	audit/verify_key.c audit/verify_tail.c audit/verify_pairs.c audit/verify_tiles.c audit/verify_out.c \
	audit/receipt.h audit/receipt.c audit/receipt_script.c

libaudit_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_AUDIT) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS)
AUDIT_LIBS = libaudit.a $(BASE_LIBS) $(JANSSON_LIBS)

if HAVE_CMOCKA
AUDIT_TEST_CPPFLAGS = $(AM_CPPFLAGS) $(Q_AUDIT) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
AUDIT_TEST_LIBS = $(AUDIT_LIBS) $(CMOCKA_LIBS)
AUDIT_TESTS = tests/unit/t_tlog tests/unit/t_log tests/unit/t_verify tests/unit/t_verify_whole \
	tests/unit/t_receipt tests/unit/t_log_cuts tests/unit/t_log_fault tests/unit/t_log_big
check_PROGRAMS += $(AUDIT_TESTS)
TESTS += $(AUDIT_TESTS)
tests_unit_t_tlog_SOURCES = tests/unit/t_tlog.c
tests_unit_t_tlog_CPPFLAGS = $(AUDIT_TEST_CPPFLAGS)
tests_unit_t_tlog_LDADD = $(AUDIT_TEST_LIBS)
tests_unit_t_log_SOURCES = tests/unit/t_log.c tests/unit/audit_fixture.h
tests_unit_t_log_CPPFLAGS = $(AUDIT_TEST_CPPFLAGS)
tests_unit_t_log_LDADD = $(AUDIT_TEST_LIBS)
tests_unit_t_verify_SOURCES = tests/unit/t_verify.c tests/unit/verify_help.h tests/unit/audit_fixture.h
tests_unit_t_verify_CPPFLAGS = $(AUDIT_TEST_CPPFLAGS)
tests_unit_t_verify_LDADD = $(AUDIT_TEST_LIBS)
tests_unit_t_verify_whole_SOURCES = tests/unit/t_verify_whole.c tests/unit/verify_help.h \
	tests/unit/audit_fixture.h
tests_unit_t_verify_whole_CPPFLAGS = $(AUDIT_TEST_CPPFLAGS)
tests_unit_t_verify_whole_LDADD = $(AUDIT_TEST_LIBS)
tests_unit_t_receipt_SOURCES = tests/unit/t_receipt.c tests/unit/audit_fixture.h
tests_unit_t_receipt_CPPFLAGS = $(AUDIT_TEST_CPPFLAGS)
tests_unit_t_receipt_LDADD = $(AUDIT_TEST_LIBS)
tests_unit_t_log_big_SOURCES = tests/unit/t_log_big.c tests/unit/audit_fixture.h
tests_unit_t_log_big_CPPFLAGS = $(AUDIT_TEST_CPPFLAGS)
tests_unit_t_log_big_LDADD = $(AUDIT_TEST_LIBS)
tests_unit_t_log_cuts_SOURCES = tests/unit/t_log_cuts.c tests/unit/audit_fixture.h
tests_unit_t_log_cuts_CPPFLAGS = $(AUDIT_TEST_CPPFLAGS)
tests_unit_t_log_cuts_LDADD = $(AUDIT_TEST_LIBS)
tests_unit_t_log_fault_SOURCES = tests/unit/t_log_fault.c tests/unit/audit_fixture.h
tests_unit_t_log_fault_CPPFLAGS = $(AUDIT_TEST_CPPFLAGS)
tests_unit_t_log_fault_LDADD = $(AUDIT_TEST_LIBS)

# the stored inputs of the fuzz targets, in every make check
check_PROGRAMS += fuzz/c_note fuzz/c_segment
TESTS += fuzz/c_note fuzz/c_segment
fuzz_c_note_SOURCES = fuzz/fz_note.c fuzz/run_corpus.c
fuzz_c_note_CPPFLAGS = $(libaudit_a_CPPFLAGS) -DCORPUS='"note"'
fuzz_c_note_LDADD = $(AUDIT_LIBS)
fuzz_c_segment_SOURCES = fuzz/fz_segment.c fuzz/run_corpus.c
fuzz_c_segment_CPPFLAGS = $(libaudit_a_CPPFLAGS) -DCORPUS='"segment"'
fuzz_c_segment_LDADD = $(AUDIT_LIBS)
endif
if FUZZ
noinst_PROGRAMS += fuzz/fz_note fuzz/fz_segment
fuzz_fz_note_SOURCES = fuzz/fz_note.c $(libaudit_a_SOURCES)
fuzz_fz_note_CPPFLAGS = $(libaudit_a_CPPFLAGS)
fuzz_fz_note_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_fz_note_LDADD = $(BASE_LIBS) $(JANSSON_LIBS)
fuzz_fz_segment_SOURCES = fuzz/fz_segment.c $(libaudit_a_SOURCES)
fuzz_fz_segment_CPPFLAGS = $(libaudit_a_CPPFLAGS)
fuzz_fz_segment_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_fz_segment_LDADD = $(BASE_LIBS) $(JANSSON_LIBS)
endif
noinst_PROGRAMS += bench/bench_log
bench_bench_log_SOURCES = bench/bench_log.c bench/count.h
bench_bench_log_CPPFLAGS = $(AM_CPPFLAGS) $(Q_AUDIT) $(SODIUM_CFLAGS)
bench_bench_log_LDADD = $(AUDIT_LIBS)
EXTRA_DIST += fuzz/corpus/note fuzz/corpus/segment
