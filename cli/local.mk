# cli/: sallyport, the command of officers, auditors and users
bin_PROGRAMS += sallyport
sallyport_SOURCES = cli/cli.h cli/main.c cli/opts.c cli/http.c cli/print.c cli/cmd_model.c cli/cmd_status.c \
	cli/cmd_request.c cli/cmd_audit.c cli/cmd_receipt.c \
	cli/noun.h cli/noun.c cli/passphrase.h cli/passphrase.c cli/officer_key.h cli/officer_key.c \
	cli/officer_file.c cli/sign.h cli/sign.c cli/realm.c cli/init.h cli/init_args.c cli/init_files.c \
	cli/cmd_init.c cli/cmd_officer.c cli/cmd_subject.c cli/cmd_case.c cli/cmd_queue.c cli/cmd_key.c \
	cli/cmd_quota.c cli/cmd_lockdown.c
sallyport_CPPFLAGS = $(AM_CPPFLAGS) $(Q_CLI) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS) $(UTF8PROC_CFLAGS)
sallyport_LDADD = libpolicy.a libengine.a libvetting.a libaudit.a $(BASE_LIBS) $(JANSSON_LIBS) $(CURL_LIBS) \
	$(INIH_LIBS) $(UTF8PROC_LIBS) -lpthread -lm
