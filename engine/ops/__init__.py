"""Operations of the native engine: a torch reference beside each Triton kernel."""
