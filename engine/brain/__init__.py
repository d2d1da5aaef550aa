"""Language models behind one session interface: prefill, generate, cut back."""
