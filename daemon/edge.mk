# sources of this part: libdaemon_a_SOURCES += daemon/x.c daemon/x.h, and its tests
