/* notify.h - systemd's readiness protocol (sd_notify(3)) without its library. */
#ifndef SP_DAEMON_NOTIFY_H
#define SP_DAEMON_NOTIFY_H

/* Sends e.g. "READY=1" to $NOTIFY_SOCKET; nothing happens when there is none. */
void notify_systemd(const char *state);

#endif
