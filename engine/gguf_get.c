/* gguf_get.c - typed access to a parsed GGUF, and mapping a descriptor. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "cur.h"
#include "fault.h"
#include "gguf.h"

bool gguf_str(const struct gguf *g, const char *key, struct span *out)
{
	const struct gguf_key *k = gguf_find(g, key);

	if (!k || k->type != GV_STR)
		return false;
	*out = k->raw;
	return true;
}

bool gguf_u64(const struct gguf *g, const char *key, uint64_t *out)
{
	const struct gguf_key *k = gguf_find(g, key);
	const uint8_t *p = k ? (const uint8_t *)k->raw.p : NULL;
	uint64_t v;

	if (!k)
		return false;
	switch (k->type) {
	case GV_U8:
		v = p[0];
		break;
	case GV_I8:
		v = (uint64_t)(int64_t)(int8_t)p[0];
		break;
	case GV_U16:
		v = get_le16(p);
		break;
	case GV_I16:
		v = (uint64_t)(int64_t)(int16_t)get_le16(p);
		break;
	case GV_U32:
		v = get_le32(p);
		break;
	case GV_I32:
		v = (uint64_t)(int64_t)(int32_t)get_le32(p);
		break;
	case GV_U64:
	case GV_I64:
		v = get_le64(p);
		break;
	default:
		return false;
	}
	if (k->type != GV_U64 && v > INT64_MAX)
		return false; /* negative */
	*out = v;
	return true;
}

bool gguf_u32(const struct gguf *g, const char *key, uint32_t *out)
{
	uint64_t v;

	if (!gguf_u64(g, key, &v) || v > UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

static float f32_at(const uint8_t *p)
{
	uint32_t bits = get_le32(p);
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

bool gguf_f32(const struct gguf *g, const char *key, float *out)
{
	const struct gguf_key *k = gguf_find(g, key);
	uint64_t bits;
	double d;

	if (!k)
		return false;
	if (k->type == GV_F32) {
		*out = f32_at((const uint8_t *)k->raw.p);
		return true;
	}
	if (k->type != GV_F64)
		return false;
	bits = get_le64((const uint8_t *)k->raw.p);
	memcpy(&d, &bits, sizeof(d));
	if (!(d >= -3.4e38 && d <= 3.4e38))
		return false; /* no float can say it */
	*out = (float)d;
	return true;
}

bool gguf_bool(const struct gguf *g, const char *key, bool *out)
{
	const struct gguf_key *k = gguf_find(g, key);

	if (!k || k->type != GV_BOOL)
		return false;
	*out = k->raw.p[0] != 0;
	return true;
}

bool gguf_arr(const struct gguf *g, const char *key, enum gguf_vtype elem, struct gguf_arr *out)
{
	const struct gguf_key *k = gguf_find(g, key);

	if (!k || k->type != GV_ARR || k->arr.type != elem)
		return false;
	*out = k->arr;
	return true;
}

float gguf_arr_f32(const struct gguf_arr *a, uint64_t i)
{
	return f32_at((const uint8_t *)a->raw.p + i * 4);
}

int32_t gguf_arr_i32(const struct gguf_arr *a, uint64_t i)
{
	return (int32_t)get_le32((const uint8_t *)a->raw.p + i * 4);
}

bool gguf_arr_next(const struct gguf_arr *a, size_t *pos, struct span *out)
{
	struct cur c = cur_init(span_from(a->raw, *pos));
	uint64_t n = cur_u64(&c);

	*out = cur_span(&c, n);
	if (c.bad)
		return false;
	*pos += c.off;
	return true;
}

int gguf_map(int fd, struct gguf_map *m, struct err *err)
{
	struct stat st;
	void *p;

	m->bytes = span_of(NULL, 0);
	if (FAULT("gguf.fstat") || fstat(fd, &st) < 0)
		return err_sys(err, "fstat model file");
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return err_set(err, E_FORMAT, "the model is not a regular file with content");
	p = FAULT("gguf.mmap") ? MAP_FAILED
			       : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(err, "map model file");
	m->bytes = span_of(p, (size_t)st.st_size);
	return 0;
}

void gguf_unmap(struct gguf_map *m)
{
	if (m->bytes.p)
		munmap((void *)m->bytes.p, m->bytes.n);
	m->bytes = span_of(NULL, 0);
}
