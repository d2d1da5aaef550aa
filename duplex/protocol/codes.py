"""Error codes that clients receive, in one place. Those of the OpenAI API are spelt as it does."""

from enum import StrEnum


class Code(StrEnum):
    """``error.code`` of an `error` event."""

    # What was sent cannot be read.
    INVALID_JSON = "invalid_json"
    UNKNOWN_EVENT = "unknown_event"
    INVALID_VALUE = "invalid_value"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_FUNCTION_PARAMETERS = "invalid_function_parameters"

    # It can be read, but this server does not do it.
    UNSUPPORTED_ITEM_TYPE = "unsupported_item_type"
    UNSUPPORTED_CONTENT_TYPE = "unsupported_content_type"
    UNSUPPORTED_TOOL_TYPE = "unsupported_tool_type"
    UNSUPPORTED_FEATURE = "unsupported_feature"

    # It does not fit the state of the call. Clients match most of these by name.
    ITEM_CREATE_DUPLICATE = "item_create_duplicate_item_id"
    ITEM_CREATE_PREVIOUS = "item_create_invalid_previous_item_id"
    ITEM_CREATE_CALL_ID = "item_create_invalid_call_id"
    ITEM_TOO_LARGE = "item_too_large"
    ITEM_DELETE_INVALID = "item_delete_invalid_item_id"
    ITEM_RETRIEVE_INVALID = "item_retrieve_invalid_item_id"
    ITEM_TRUNCATE_INVALID = "item_truncate_invalid_item_id"
    BUFFER_FULL = "input_audio_buffer_full"
    COMMIT_EMPTY = "input_audio_buffer_commit_empty"
    RESPONSE_ACTIVE = "conversation_already_has_active_response"
    CONTEXT_EXCEEDED = "context_length_exceeded"
    TOO_MANY_RESPONSES = "too_many_active_responses"
    INPUT_ITEM_INVALID = "response_input_invalid_item_id"
    RESPONSE_NOT_ACTIVE = "response_cancel_not_active"

    # The server's own affairs; a call may end with one.
    SERVER_FULL = "server_full"
    SERVER_STOPPING = "server_stopping"
    RATE_LIMIT = "rate_limit_exceeded"
    CALL_OVER = "session_expired"
    RESUME_FAILED = "resume_failed"
    SERVER_ERROR = "server_error"
