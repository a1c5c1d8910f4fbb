/* http_strict.h - what an HTTP/1.1 request must look like before any byte of it reaches
 * libmicrohttpd, whatever its version lets pass. Pure: no I/O, no memory of its own.
 * RFC 9112, narrowed: every form that two parsers could read differently is refused. */
#ifndef SP_DAEMON_HTTP_STRICT_H
#define SP_DAEMON_HTTP_STRICT_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"

#define STRICT_HEAD_MAX 16384u /* request line and all headers with the empty line, bytes */
#define STRICT_FIELDS_MAX 100u
#define STRICT_METHOD_MAX 16u

/* name, what is wrong and what to do (for the client), the same in Vietnamese */
#define STRICT_WHYS(X)                                                                             \
	X(OK, "", "")                                                                              \
	X(MORE, "", "")                                                                            \
	X(LINE, "The request line must be: METHOD SP /path SP HTTP/1.1.",                          \
	  "Dòng yêu cầu phải là: METHOD SP /path SP HTTP/1.1.")                                    \
	X(TARGET, "The request target must be a path of printable ASCII that starts with '/'.",    \
	  "Đích của yêu cầu phải là đường dẫn ASCII in được, bắt đầu bằng '/'.")                   \
	X(VERSION, "Only HTTP/1.1 and HTTP/1.0 are spoken here.",                                  \
	  "Ở đây chỉ dùng HTTP/1.1 và HTTP/1.0.")                                                  \
	X(BARE_LF, "A line ends with LF alone; lines end with CR LF.",                             \
	  "Có dòng chỉ kết thúc bằng LF; mỗi dòng phải kết thúc bằng CR LF.")                      \
	X(CONTROL, "The head holds a control character.", "Phần đầu có ký tự điều khiển.")         \
	X(FOLD, "A header line is folded; write each header on one line.",                         \
	  "Có tiêu đề bị ngắt dòng; hãy viết mỗi tiêu đề trên một dòng.")                          \
	X(NAME, "A header name is not a token, or is followed by a space.",                        \
	  "Tên tiêu đề không hợp lệ hoặc có dấu cách theo sau.")                                   \
	X(HOST, "Exactly one Host header with one name is needed.",                                \
	  "Cần đúng một tiêu đề Host với một tên.")                                                \
	X(LENGTH, "Content-Length must stand once and hold digits only.",                          \
	  "Content-Length chỉ được có một lần và chỉ gồm chữ số.")                                 \
	X(BOTH, "Content-Length and Transfer-Encoding may not stand together.",                    \
	  "Content-Length và Transfer-Encoding không được đi cùng nhau.")                          \
	X(CODING, "Transfer-Encoding may only be 'chunked', once, in HTTP/1.1.",                   \
	  "Transfer-Encoding chỉ được là 'chunked', một lần, trong HTTP/1.1.")                     \
	X(AUTH, "Authorization may stand only once.", "Authorization chỉ được có một lần.")        \
	X(EXPECT, "Expect may only be '100-continue'.", "Expect chỉ được là '100-continue'.")      \
	X(LONG, "The head is longer than 16 KiB.", "Phần đầu dài hơn 16 KiB.")                     \
	X(MANY, "There are more than 100 headers.", "Có hơn 100 tiêu đề.")                         \
	X(CHUNK, "The chunked body is malformed; extensions and trailers are not accepted.",       \
	  "Nội dung chunked sai định dạng; không nhận phần mở rộng hay tiêu đề cuối.")             \
	X(EARLY, "Bytes of a next request came before this one was answered.",                     \
	  "Yêu cầu tiếp theo đến trước khi yêu cầu này được trả lời.")                             \
	X(LARGE, "The request body is too large.", "Nội dung yêu cầu quá lớn.")

enum strict_why {
#define X(name, en, vi) SW_##name,
	STRICT_WHYS(X)
#undef X
};
/* Text of a fault; static, never client bytes. */
const char *strict_text(enum strict_why w, bool vietnamese);

/* Looks for the end of a head in all bytes received so far. *off: start with 0, kept between calls
 * so that no byte is looked at twice. SW_OK: *len bytes are the head with its empty line. SW_MORE.
 * Else the fault, found at the first bad byte. */
enum strict_why strict_scan(struct span in, size_t *off, size_t *len);

struct strict_head {
	struct span method, target; /* borrow the head */
	struct span auth;	    /* value of Authorization; n = 0: none */
	bool has_auth;
	bool http10, close, chunked, has_length, expect, vietnamese;
	uint64_t length;
};
/* Checks and reads one head that strict_scan() delimited. */
enum strict_why strict_head(struct span head, struct strict_head *h);

/* Overwrites in place, with 'x', all of a checked head that libmicrohttpd need not see: the target
 * behind its '/', and every header but those of framing. So no path, query, cookie or key of a
 * client is ever parsed there, and none can exhaust its pool. Framing reads the same afterwards. */
void strict_blank(char *head, size_t n);

/* Follows a body through its framing. */
struct strict_body {
	uint64_t left, total, max;
	unsigned state, digits;
};
void strict_body_init(struct strict_body *b, const struct strict_head *h, uint64_t max);
/* *used: bytes of `in` that belong to this body and are well framed. SW_OK: it ends there;
 * SW_MORE; SW_CHUNK or SW_LARGE. */
enum strict_why strict_body_feed(struct strict_body *b, struct span in, size_t *used);

#endif
