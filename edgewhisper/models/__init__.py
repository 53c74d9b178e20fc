"""What can be built: model cards, checkpoint readers, tokenizer and generation settings, the bundled demo model."""
