# db/: state.db
noinst_LIBRARIES += libdb.a
DB_SQL = $(top_srcdir)/db/sql/001_state.sql
EXTRA_DIST += db/embed.awk db/sql/001_state.sql
CLEANFILES += db/sql_gen.h
db/sql_gen.h: $(DB_SQL) $(top_srcdir)/db/embed.awk
	@$(MKDIR_P) db
	$(AM_V_GEN)LC_ALL=C awk -f $(top_srcdir)/db/embed.awk $(DB_SQL) >$@.tmp && mv $@.tmp $@
db/libdb_a-open.$(OBJEXT): db/sql_gen.h
libdb_a_SOURCES = db/authority.h db/db.h db/db_priv.h db/queries.h db/open.c db/stmt.c db/rows.c \
	db/path.c db/admin.c db/verify.c
libdb_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DB) -iquote db $(SODIUM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)
DB_LIBS = libdb.a libvetting.a $(BASE_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_db
TESTS += tests/unit/t_db
tests_unit_t_db_SOURCES = tests/unit/t_db.c
tests_unit_t_db_CPPFLAGS = $(AM_CPPFLAGS) $(Q_DB) $(SODIUM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_db_LDADD = $(DB_LIBS) $(CMOCKA_LIBS)
endif
