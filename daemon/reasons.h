/* reasons.h - the one catalogue of refusals: number on the wire and in the log, HTTP status, error
 * type and code (gateways.md 4), what happened and what to do, in English and Vietnamese. Causes a
 * user cannot mend are one neutral access_paused. Numbers never change meaning. */
#ifndef SP_DAEMON_REASONS_H
#define SP_DAEMON_REASONS_H

#include <stdint.h>

/* num, NAME, status, type, code, English, Vietnamese */
#define REASONS(X)                                                                                 \
	X(0, NONE, 200, "", "", "", "")                                                            \
	X(1, BAD_KEY, 401, "invalid_request_error", "invalid_api_key",                             \
	  "The API key is not valid: unknown, expired or revoked. Check the key, or ask your "     \
	  "sponsor for a new enrolment code.",                                                     \
	  "Khóa API không hợp lệ: không tồn tại, hết hạn hoặc đã thu hồi. Hãy kiểm tra khóa hoặc " \
	  "xin mã đăng ký mới từ người bảo lãnh.")                                                 \
	X(2, ACCESS_PAUSED, 403, "permission_error", "access_paused",                              \
	  "Access is paused. Ask your sponsor or the access desk, naming the request id.",         \
	  "Quyền truy cập đang tạm dừng. Hãy liên hệ người bảo lãnh hoặc bộ phận cấp quyền, kèm "  \
	  "mã yêu cầu.")                                                                           \
	X(3, KYC_REQUIRED, 403, "permission_error", "kyc_required",                                \
	  "Vetting is not complete. Finish your application with your sponsor.",                   \
	  "Hồ sơ thẩm định chưa hoàn tất. Hãy hoàn tất cùng người bảo lãnh.")                      \
	X(4, KYC_EXPIRED, 403, "permission_error", "kyc_expired",                                  \
	  "Vetting has expired. Ask your sponsor to start the re-verification.",                   \
	  "Thẩm định đã hết hạn. Hãy nhờ người bảo lãnh mở lại thủ tục xác minh.")                 \
	X(5, NO_MODEL, 404, "invalid_request_error", "model_not_found",                            \
	  "The model does not exist or you have no access to it. GET /v1/models lists yours.",     \
	  "Mô hình không tồn tại hoặc bạn không có quyền. GET /v1/models liệt kê các mô hình của " \
	  "bạn.")                                                                                  \
	X(6, RATE_REQUESTS, 429, "requests", "rate_limit_exceeded",                                \
	  "Too many requests in this minute. Wait for the time in Retry-After.",                   \
	  "Quá nhiều yêu cầu trong phút này. Hãy đợi theo Retry-After.")                           \
	X(7, RATE_TOKENS, 429, "tokens", "rate_limit_exceeded",                                    \
	  "Too many tokens in this minute. Wait for the time in Retry-After, or ask for fewer.",   \
	  "Quá nhiều token trong phút này. Hãy đợi theo Retry-After hoặc yêu cầu ít hơn.")         \
	X(8, RATE_CONCURRENCY, 429, "requests", "rate_limit_exceeded",                             \
	  "Too many requests at once. Let one finish first.",                                      \
	  "Quá nhiều yêu cầu đồng thời. Hãy đợi một yêu cầu kết thúc.")                            \
	X(9, QUOTA_DAY, 429, "insufficient_quota", "insufficient_quota",                           \
	  "The allowance of this day is spent. Ask your sponsor for more.",                        \
	  "Hạn mức trong ngày đã dùng hết. Hãy xin thêm từ người bảo lãnh.")                       \
	X(10, QUOTA_MONTH, 429, "insufficient_quota", "insufficient_quota",                        \
	  "The allowance of this month is spent. Ask your sponsor for more.",                      \
	  "Hạn mức trong tháng đã dùng hết. Hãy xin thêm từ người bảo lãnh.")                      \
	X(11, TOO_LONG, 400, "invalid_request_error", "context_length_exceeded",                   \
	  "The prompt and the answer asked for do not fit the model's context. Shorten the "       \
	  "messages or lower max_tokens; nothing was cut silently.",                               \
	  "Nội dung và câu trả lời vượt quá ngữ cảnh của mô hình. Hãy rút ngắn hoặc giảm "         \
	  "max_tokens; không có gì bị cắt ngầm.")                                                  \
	X(12, PROMPT_BLOCKED, 400, "invalid_request_error", "content_filter",                      \
	  "The prompt was blocked by policy. Rephrase it; if it is part of your approved work, "   \
	  "ask your sponsor, naming the request id.",                                              \
	  "Nội dung bị chính sách chặn. Hãy diễn đạt lại; nếu thuộc công việc đã được duyệt, hãy " \
	  "hỏi người bảo lãnh kèm mã yêu cầu.")                                                    \
	X(13, OUTPUT_BLOCKED, 200, "", "content_filter",                                           \
	  "The answer was stopped by policy.", "Câu trả lời bị chính sách dừng lại.")              \
	X(14, UNSCANNABLE, 422, "invalid_request_error", "unscannable_content",                    \
	  "Only text can be checked here, so only text is accepted.",                              \
	  "Ở đây chỉ kiểm tra được văn bản, nên chỉ nhận văn bản.")                                \
	X(15, UNSUPPORTED, 400, "invalid_request_error", "unsupported_parameter",                  \
	  "A parameter is not supported.", "Có tham số không được hỗ trợ.")                        \
	X(16, BAD_REQUEST, 400, "invalid_request_error", "invalid_request",                        \
	  "The request is malformed.", "Yêu cầu sai định dạng.")                                   \
	X(17, TOO_LARGE, 413, "invalid_request_error", "request_too_large",                        \
	  "The request body is too large.", "Nội dung yêu cầu quá lớn.")                           \
	X(18, NOT_FOUND, 404, "invalid_request_error", "not_found",                                \
	  "Nothing is here.", "Không có gì ở đây.")                                                \
	X(19, GUARD_DOWN, 503, "server_error", "guardrail_unavailable",                            \
	  "The policy check is not available, so nothing can be answered. Try again later.",       \
	  "Bộ kiểm tra chính sách chưa sẵn sàng nên chưa thể trả lời. Hãy thử lại sau.")           \
	X(20, BOOK_DOWN, 503, "server_error", "audit_unavailable",                                 \
	  "The audit log cannot be written, so nothing can be answered. Try again later.",         \
	  "Không ghi được nhật ký kiểm toán nên chưa thể trả lời. Hãy thử lại sau.")               \
	X(21, OVERLOADED, 503, "server_error", "overloaded",                                       \
	  "The service is busy or starting. Try again after the time in Retry-After.",             \
	  "Dịch vụ đang bận hoặc đang khởi động. Hãy thử lại theo Retry-After.")                   \
	X(22, INTERNAL, 500, "server_error", "internal_error",                                     \
	  "Something went wrong here. Name the request id when you ask.",                          \
	  "Có lỗi phía dịch vụ. Hãy nêu mã yêu cầu khi hỏi.")                                      \
	X(23, CANCELLED, 499, "", "cancelled", "The client went away.", "Máy khách đã ngắt.")      \
	X(24, REVOKED, 403, "permission_error", "access_paused",                                   \
	  "Access was paused while this answer was running.",                                      \
	  "Quyền truy cập bị tạm dừng khi đang trả lời.")                                          \
	X(25, STORE_LOST, 503, "server_error", "audit_unavailable",                                \
	  "The audit log fell silent while this answer was running.",                              \
	  "Nhật ký kiểm toán ngừng đáp ứng khi đang trả lời.")                                     \
	X(26, ENGINE_LOST, 503, "server_error", "overloaded",                                      \
	  "The engine stopped while this answer was running. Try again.",                          \
	  "Bộ suy luận dừng khi đang trả lời. Hãy thử lại.")                                       \
	X(27, DEADLINE, 503, "server_error", "overloaded",                                         \
	  "The answer took too long and was stopped.", "Câu trả lời quá lâu nên đã dừng.")         \
	X(28, SHUTDOWN, 503, "server_error", "overloaded", "The service is shutting down.",        \
	  "Dịch vụ đang tắt.")                                                                     \
	X(29, LOCKDOWN, 403, "permission_error", "access_paused",                                  \
	  "Access is paused. Ask your sponsor or the access desk, naming the request id.",         \
	  "Quyền truy cập đang tạm dừng. Hãy liên hệ người bảo lãnh hoặc bộ phận cấp quyền, kèm "  \
	  "mã yêu cầu.")                                                                           \
	X(30, BAD_CODE, 400, "invalid_request_error", "invalid_enrolment_code",                    \
	  "The enrolment code is wrong, used or expired. Both halves are needed. Ask the two "     \
	  "officers for a new code.",                                                              \
	  "Mã đăng ký sai, đã dùng hoặc hết hạn. Cần đủ hai nửa. Hãy xin mã mới từ hai cán bộ.")   \
	X(31, BINDING, 401, "invalid_request_error", "invalid_api_key",                            \
	  "This key is bound to a client certificate or network that was not presented.",          \
	  "Khóa này gắn với chứng chỉ hoặc mạng chưa được xuất trình.")                            \
	X(32, NO_GRANT, 403, "permission_error", "access_paused", "No grant stands behind this.",  \
	  "Không có quyền tương ứng.")                                                             \
	X(33, REPLAY, 403, "permission_error", "access_paused", "This lease was used before.",     \
	  "Phiên này đã dùng.")                                                                    \
	X(34, ODD_MESSAGE, 500, "server_error", "internal_error", "A role broke the rules.",       \
	  "Một thành phần vi phạm quy tắc.")                                                       \
	X(35, NO_ROOM, 503, "server_error", "overloaded",                                          \
	  "All places are taken. Try again after the time in Retry-After.",                        \
	  "Đã hết chỗ. Hãy thử lại theo Retry-After.")                                             \
	X(36, TIER, 403, "permission_error", "access_paused",                                      \
	  "Your tier does not allow this. Ask your sponsor.",                                      \
	  "Cấp quyền của bạn không cho phép. Hãy hỏi người bảo lãnh.")

enum reason {
#define X(num, name, status, type, code, en, vi) RS_##name = num,
	REASONS(X)
#undef X
};

struct reason_info {
	const char *name;
	int status;
	const char *type, *code, *en, *vi;
};
const struct reason_info *reason_info(unsigned code); /* never NULL; unknown = INTERNAL */

/* Why the service is not ready: bits of STATE, ESTATE and ALIVE. */
enum {
	NR_GENESIS = 1,   /* officers have not all confirmed */
	NR_BOOK = 2,      /* log not writable, low on space, or recovering */
	NR_GUARD = 4,     /* no guard has passed its self-test */
	NR_MODEL = 8,     /* no chat model is loaded */
	NR_STORE = 16,    /* store is silent */
	NR_ENGINE = 32,   /* engine is silent */
	NR_CLOCK = 64,    /* large step of the clock */
	NR_DRAIN = 128,
	NR_LOCKDOWN = 256,
	NR_SETTINGS = 512,
};

/* Policy actions, in INTENT, OUTCOME windows and the log. */
enum policy_action { PA_ALLOW, PA_FLAG, PA_REDACT, PA_HOLD, PA_BLOCK, PA_ERROR };
/* OUTCOME.state */
enum outcome_state {
	OS_OK, OS_LENGTH, OS_FILTERED, OS_CANCELLED, OS_FAILED, OS_REVOKED, OS_DEADLINE,
	OS_STORE_LOST, OS_UNKNOWN, OS_BLOCKED
};
/* OUT.finish */
enum out_finish { OF_NONE, OF_STOP, OF_LENGTH, OF_FILTER, OF_ERROR };

#endif
