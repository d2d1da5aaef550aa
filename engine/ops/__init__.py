"""Operations of the native engine: each with a torch reference and a Triton kernel."""
