# the engine role: requests, models, guard, records
noinst_LIBRARIES += libengrole.a
ROLE_LIBS += libengrole.a
libengrole_a_SOURCES = daemon/eng.h daemon/eng.c daemon/eng_load.c daemon/eng_req.c daemon/eng_admit.c \
	daemon/eng_gen.c daemon/eng_rec.c daemon/eng_end.c daemon/engine_role.c
libengrole_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DAEMON) $(SODIUM_CFLAGS)
