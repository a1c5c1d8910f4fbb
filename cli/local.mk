# cli/: sallyport, the command of officers, auditors and users
bin_PROGRAMS += sallyport
sallyport_SOURCES = cli/cli.h cli/main.c cli/opts.c cli/http.c cli/print.c cli/entry_line.h cli/entry_line.c cli/model.h cli/cmd_model.c cli/model_open.c cli/model_args.c \
	cli/model_inspect.c cli/model_logits.c cli/model_generate.c cli/model_schema.h cli/model_schema.c cli/model_tokenize.c cli/model_import.c \
	cli/model_synth.c cli/synth.h cli/synth.c cli/synth_fill.c cli/synth_vocab.c \
	cli/model_run.h cli/model_run.c cli/model_bench.h cli/model_bench.c cli/bench_priv.h cli/bench_run.c cli/bench_cells.c cli/model_plan.h cli/model_plan.c cli/model_perplexity.c cli/plan_measure.c \
	cli/cmd_status.c \
	cli/cmd_request.c cli/cmd_audit.c cli/decisions.h cli/decisions.c cli/cmd_receipt.c \
	cli/noun.h cli/noun.c cli/passphrase.h cli/passphrase.c cli/officer_key.h cli/officer_key.c \
	cli/officer_file.c cli/sign.h cli/sign.c cli/realm.c cli/init.h cli/init_args.c cli/init_files.c \
	cli/cmd_init.c cli/cmd_officer.c cli/cmd_subject.c cli/cmd_case.c cli/cmd_queue.c cli/cmd_key.c \
	cli/cmd_quota.c cli/cmd_lockdown.c
sallyport_SOURCES += cli/model_quantize.c
sallyport_CPPFLAGS = $(AM_CPPFLAGS) $(Q_CLI) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS) $(UTF8PROC_CFLAGS)
sallyport_LDADD = libpolicy.a libengine.a libvetting.a libaudit.a $(BASE_LIBS) $(JANSSON_LIBS) $(CURL_LIBS) \
	$(INIH_LIBS) $(UTF8PROC_LIBS) -lpthread -lm

# the whole of the officer's commands against the real admin side of store
check_PROGRAMS += tests/cli/admin_bridge
tests_cli_admin_bridge_SOURCES = tests/cli/admin_bridge.c
tests_cli_admin_bridge_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)
tests_cli_admin_bridge_LDADD = libstoreadmin.a $(DB_LIBS)
TESTS += tests/cli/test_cli.py tests/cli/test_model.py
TESTS += tests/cli/test_model_files.py
EXTRA_DIST += tests/cli/test_model_files.py
EXTRA_DIST += tests/cli/test_cli.py tests/cli/test_model.py tests/cli/cli_kit.py

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_cli_keys
TESTS += tests/unit/t_cli_keys
tests_unit_t_cli_keys_SOURCES = tests/unit/t_cli_keys.c cli/officer_key.c cli/officer_file.c cli/passphrase.c
tests_unit_t_cli_keys_CPPFLAGS = $(AM_CPPFLAGS) $(Q_CLI) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_cli_keys_LDADD = $(VETTING_LIBS) $(CMOCKA_LIBS)
endif
