/* version.h - what this build calls itself, in records and on the command line. */
#ifndef SP_DAEMON_VERSION_H
#define SP_DAEMON_VERSION_H

#ifndef SALLYPORT_VERSION
#define SALLYPORT_VERSION "0.1.0"
#endif

#endif
