"""Accuracy of a served model: question sets, what is asked, and how the answers are scored."""
