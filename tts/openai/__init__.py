"""A voice that an OpenAI-compatible speech endpoint makes."""
