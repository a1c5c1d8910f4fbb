/* io.h - whole reads and writes, retried over EINTR and short counts. Any thread. */
#ifndef SP_BASE_IO_H
#define SP_BASE_IO_H

#include <stddef.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"

/* 0 when all n bytes went; E_IO else; E_TRUNC when a read met the end of file. */
int io_write_all(int fd, const void *p, size_t n, struct err *err);
int io_pwrite_all(int fd, const void *p, size_t n, off_t off, struct err *err);
int io_pread_all(int fd, void *p, size_t n, off_t off, struct err *err);
/* Appends a whole file (at most max bytes; more is E_RANGE) to *out. E_UNSUPPORTED when path is no
 * regular file: a FIFO would hang. */
int io_read_file(const char *path, size_t max, struct buf *out, struct err *err);
int io_read_fd(int fd, size_t max, struct buf *out, struct err *err);
/* Writes path.tmp, fsyncs, renames over path, fsyncs the folder. */
int io_write_file(const char *path, const void *p, size_t n, mode_t mode, struct err *err);
/* mkdir -p with the mode for each new part; existing folders are left alone. */
int io_mkdirs(const char *path, mode_t mode, struct err *err);

#endif
