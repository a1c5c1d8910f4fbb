/* run_corpus.c - runs a fuzz target without a fuzzer: each stored input, cut at about a thousand
 * places, and with two thousand small changes, always the same. Folders: the arguments, or
 * $SRCDIR/fuzz/corpus/CORPUS. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "log.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A copy that ends where its memory does, so that a sanitizer sees any byte too far. */
static void run(const char *p, size_t n, uint64_t *seed)
{
	uint8_t *copy = malloc(n ? n : 1);

	must(copy);
	memcpy(copy, p, n);
	for (unsigned changes = seed && n ? 1 + (unsigned)(*seed >> 60) % 4 : 0; changes;
	     changes--) {
		*seed = *seed * 6364136223846793005u + 1442695040888963407u;
		copy[(*seed >> 20) % n] =
		    (*seed & 1) ? (uint8_t)(*seed >> 50)
				: copy[(*seed >> 20) % n] ^ (uint8_t)(1u << (*seed >> 60) % 8);
	}
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static int run_folder(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int files = 0;

	if (!d) {
		fprintf(stderr, "%s: no such folder\n", dir);
		return 0;
	}
	while ((e = readdir(d))) {
		struct buf f = BUF_INIT(1 << 20);
		uint64_t seed = 42;
		char path[1024];

		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_name[0] == '.' || io_read_file(path, 1 << 20, &f, NULL) < 0)
			continue;
		run(f.p, f.n, NULL);
		for (size_t n = 0; n < f.n; n += 1 + f.n / 1000)
			run(f.p, n, NULL);
		for (int i = 0; i < 2000; i++)
			run(f.p, f.n, &seed);
		buf_free(&f);
		files++;
	}
	closedir(d);
	return files;
}

int main(int argc, char **argv)
{
	const char *src = getenv("SRCDIR");
	char dir[1024];
	int files = 0;

	snprintf(dir, sizeof(dir), "%s/fuzz/corpus/%s", src ? src : ".", CORPUS);
	for (int i = 1; i < argc; i++)
		files += run_folder(argv[i]);
	if (argc < 2)
		files = run_folder(dir);
	printf("%d inputs\n", files);
	return files > 0 ? 0 : 1;
}
