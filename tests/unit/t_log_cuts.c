/* t_log_cuts.c - SIGKILL of a writer with many entries in flight, and every image a power cut may
 * leave of a commit: no acknowledged record is lost, and the log opens. SALLYPORT_CUTS sets the
 * number of kills (1,000 for a full run); in a --enable-fault build the child also dies at every
 * fault point. */
#include "audit_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "fault.h"
#include "logdir.h"
#include "verify.h"

#define IN_FLIGHT 64

static struct verify_result res;

static enum verify_code check(const char *dir)
{
	struct verify_opts o = {0};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	verify_log(fd, &o, &res);
	close(fd);
	return res.code;
}

/* The client's view: after each commit the number of durable entries goes into the pipe. */
static void child(struct fix *f, int ack, uint64_t seg)
{
	uint64_t size, i;
	char mem[512];
	int rc;

	alarm(60);
	if (fix_try_open(f, seg) < 0)
		_exit(3);
	for (unsigned round = 1;; round++) {
		for (unsigned k = 0; k < IN_FLIGHT; k++)
			if (logw_append(f->w, fix_entry(logw_next(f->w), mem), &i, &f->err) < 0)
				_exit(4);
		if (logw_commit(f->w, &f->err) < 0)
			_exit(5);
		size = logw_size(f->w);
		if (write(ack, &size, sizeof(size)) != sizeof(size))
			_exit(6);
		rc = round % 7 ? E_OK : logw_publish(f->w, &f->err);
		if (rc < 0 && rc != E_BUSY) /* busy: more is behind, the next call goes on */
			_exit(7);
	}
}

static uint64_t read_acks(int fd)
{
	uint64_t size, last = 0;

	while (read(fd, &size, sizeof(size)) == sizeof(size))
		last = size;
	return last;
}

/* Opens again, checks that everything acknowledged is there and byte-equal from `from` on. */
static uint64_t survive(struct fix *f, uint64_t from, uint64_t acked, uint64_t seg)
{
	struct buf b = BUF_INIT(ENTRY_MAX);
	char mem[512];
	uint64_t size;

	if (fix_try_open(f, seg) < 0)
		fail_msg("after a cut: %s", f->err.text);
	size = logw_size(f->w);
	if (size < acked)
		fail_msg("%llu acknowledged, %llu left", (unsigned long long)acked,
			 (unsigned long long)size);
	for (uint64_t i = from; i < size; i++) {
		buf_reset(&b);
		assert_int_equal(logw_entry(f->w, i, &b, NULL), E_OK);
		assert_true(span_eq(buf_span(&b), fix_entry(i, mem)));
	}
	buf_free(&b);
	return size;
}

static void one_cut(struct fix *f, unsigned n, uint64_t *size, uint64_t seg, long ns)
{
	struct timespec t = {0, ns};
	uint64_t acked = 0, more;
	int p[2], st;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(p[0]);
		child(f, p[1], seg);
	}
	close(p[1]);
	if (n % 8) /* most cuts when the writer is at full work, some while it still opens */
		assert_int_equal(read(p[0], &acked, sizeof(acked)), sizeof(acked));
	nanosleep(&t, NULL);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &st, 0), pid);
	if (!WIFSIGNALED(st))
		fail_msg("cut %u: the writer ended with %d", n, WEXITSTATUS(st));
	more = read_acks(p[0]);
	close(p[0]);
	acked = more > acked ? more : acked;
	*size = survive(f, *size, acked, seg);
	while (n % 5 == 0 && logw_publish(f->w, NULL) == E_BUSY)
		;
	logw_close(f->w, false, NULL);
	f->w = NULL;
}

static void no_acknowledged_record_is_lost_when_the_writer_is_killed(void **st)
{
	const char *e = getenv("SALLYPORT_CUTS");
	unsigned cuts = e ? (unsigned)atoi(e) : 200, seed = 12345;
	const uint64_t seg = 256 << 10;
	uint64_t size = 0;
	struct fix f;

	fix_init(&f);
	for (unsigned n = 0; n < cuts; n++) {
		seed = seed * 1103515245 + 12345;
		one_cut(&f, n, &size, seg, (long)(seed >> 8) % 12000000);
		if (n % 40 == 0 && size > 0)
			assert_int_equal(check(f.dir), VERIFY_OK);
	}
	survive(&f, 0, size, seg);
	fix_close(&f, true);
	assert_int_equal(check(f.dir), VERIFY_OK);
	assert_int_equal(res.records, size);
	print_message("%u cuts, %llu records\n", cuts, (unsigned long long)size);
	assert_true(size > cuts);
	fix_done(&f);
}

#ifdef SP_FAULT
static void no_acknowledged_record_is_lost_when_it_dies_at_any_fault_point(void **st)
{
	const uint64_t seg = 64 << 10;
	uint64_t size = 0, acked;
	struct fix f;
	int p[2], status;
	char arm[64];
	pid_t pid;

	fix_init(&f);
	for (unsigned n = 1; n < 400; n += 1 + n / 40) {
		assert_int_equal(pipe(p), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			close(p[0]);
			snprintf(arm, sizeof(arm), "*:%u:kill", n);
			setenv("SALLYPORT_FAULT", arm, 1);
			fault_reload();
			child(&f, p[1], seg);
		}
		close(p[1]);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		acked = read_acks(p[0]);
		close(p[0]);
		size = survive(&f, size, acked, seg);
		logw_close(f.w, false, NULL);
		f.w = NULL;
		if (size > 0)
			assert_int_not_equal(check(f.dir), VERIFY_TAMPERED);
	}
	fix_done(&f);
}
#endif

#define SEG 16384u
#define SECTOR 512u

static void slurp(const char *path, uint8_t *mem, bool write_it)
{
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	if (write_it)
		assert_int_equal(pwrite(fd, mem, SEG, 0), SEG);
	else
		assert_int_equal(pread(fd, mem, SEG, 0), SEG);
	close(fd);
}

/* One legal image of an unsynced commit: each changed sector kept, dropped or torn. */
static void one_image(struct fix *f, const char *path, const uint8_t *old, const uint8_t *new,
		      unsigned first, unsigned n, unsigned pick, uint64_t before, uint64_t after)
{
	uint8_t img[SEG];
	struct err none;
	char mem[512];
	struct buf b = BUF_INIT(ENTRY_MAX);
	uint64_t size;

	memcpy(img, new, SEG);
	for (unsigned i = 0; i < n; i++, pick /= 3) {
		size_t at = (size_t)(first + i) * SECTOR;

		if (pick % 3 == 1)
			memcpy(img + at, old + at, SECTOR);
		else if (pick % 3 == 2) /* torn: the first half came through */
			memcpy(img + at + SECTOR / 2, old + at + SECTOR / 2, SECTOR / 2);
	}
	slurp(path, img, true);
	if (fix_try_open(f, SEG) < 0)
		fail_msg("image %u of %u sectors: %s", pick, n, f->err.text);
	size = logw_size(f->w);
	assert_true(size == before || size == after);
	assert_true(size == after || memcmp(img, new, SEG) != 0);
	for (uint64_t i = 0; i < size; i++) {
		buf_reset(&b);
		assert_int_equal(logw_entry(f->w, i, &b, &none), E_OK);
		assert_true(span_eq(buf_span(&b), fix_entry(i, mem)));
	}
	logw_close(f->w, false, NULL);
	f->w = NULL;
	buf_free(&b);
}

static void every_power_cut_image_of_a_commit_opens_to_before_or_after(void **st)
{
	static uint8_t old[SEG], new[SEG];
	char path[512], name[SEG_NAME_MAX];
	unsigned images = 0;
	struct fix f;

	for (unsigned group = 1; group <= 8; group++) {
		unsigned first = 0, last = 0, all = 1;

		fix_init(&f);
		assert_int_equal(fix_try_open(&f, SEG), E_OK);
		fix_fill(&f, 5, 5);
		seg_name(0, name);
		snprintf(path, sizeof(path), "%s/%s", f.dir, name);
		slurp(path, old, false);
		fix_fill(&f, 5 + group, 100);
		slurp(path, new, false);
		fix_close(&f, false);
		while (memcmp(old + first * SECTOR, new + first *SECTOR, SECTOR) == 0)
			first++;
		for (unsigned i = first; i < SEG / SECTOR; i++)
			if (memcmp(old + i * SECTOR, new + i *SECTOR, SECTOR) != 0)
				last = i;
		for (unsigned i = first; i <= last; i++)
			all *= 3;
		for (unsigned pick = 0; pick<all; pick += all> 300 ? all / 150 : 1, images++)
			one_image(&f, path, old, new, first, last - first + 1, pick, 5, 5 + group);
		fix_done(&f);
	}
	print_message("%u images\n", images);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_acknowledged_record_is_lost_when_the_writer_is_killed),
#ifdef SP_FAULT
	    cmocka_unit_test(no_acknowledged_record_is_lost_when_it_dies_at_any_fault_point),
#endif
	    cmocka_unit_test(every_power_cut_image_of_a_commit_opens_to_before_or_after),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
