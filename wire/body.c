/* body.c - sealed memfds for bodies that do not fit a packet. Accepted only when fully sealed, so
 * that the sender cannot change them under the reader. Any thread. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chan.h"
#include "fault.h"
#include "io.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int body_memfd(struct span s, int *out, struct err *err)
{
	int fd = FAULT("body.memfd") ? -1 : memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0)
		return err_sys(err, "memfd_create");
	rc = io_write_all(fd, s.p, s.n, err);
	if (rc == E_OK && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		rc = err_sys(err, "seal");
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*out = fd;
	return E_OK;
}

int body_map(int fd, size_t max, struct span *s, struct err *err)
{
	struct stat st;
	void *p;

	if (fcntl(fd, F_GET_SEALS) != SEALS)
		return err_set(err, E_DENIED, "descriptor is not a fully sealed memfd");
	if (fstat(fd, &st) < 0)
		return err_sys(err, "fstat");
	if (st.st_size <= 0 || (uint64_t)st.st_size > max)
		return err_set(err, E_RANGE, "body of %lld bytes", (long long)st.st_size);
	p = FAULT("body.mmap") ? MAP_FAILED
			       : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(err, "mmap");
	*s = span_of(p, (size_t)st.st_size);
	return E_OK;
}

void body_unmap(struct span s)
{
	if (s.n)
		munmap((void *)(uintptr_t)s.p, s.n);
}
