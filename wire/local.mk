# wire/: framed messages, descriptor passing, the table of who may send what
noinst_LIBRARIES += libwire.a
libwire_a_SOURCES = wire/msgs.h wire/msgs.c wire/chan.h wire/chan.c wire/body.c
libwire_a_CPPFLAGS = $(AM_CPPFLAGS) $(Q_WIRE) $(SODIUM_CFLAGS)
WIRE_LIBS = libwire.a $(BASE_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/t_wire
TESTS += tests/unit/t_wire
tests_unit_t_wire_SOURCES = tests/unit/t_wire.c
tests_unit_t_wire_CPPFLAGS = $(AM_CPPFLAGS) $(Q_WIRE) $(SODIUM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_t_wire_LDADD = $(WIRE_LIBS) $(CMOCKA_LIBS)
endif
