# cli/: sallyport, the command of officers, auditors and users
bin_PROGRAMS += sallyport
sallyport_SOURCES = cli/cli.h cli/main.c cli/opts.c cli/http.c cli/print.c cli/cmd_model.c cli/cmd_status.c \
	cli/cmd_request.c cli/cmd_audit.c cli/cmd_receipt.c
sallyport_CPPFLAGS = $(AM_CPPFLAGS) $(Q_CLI) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS) $(UTF8PROC_CFLAGS)
sallyport_LDADD = libengine.a libaudit.a $(BASE_LIBS) $(JANSSON_LIBS) $(CURL_LIBS) \
	$(INIH_LIBS) $(UTF8PROC_LIBS) -lpthread -lm
