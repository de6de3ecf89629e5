"""Networks: batch tensors in, `memory_BTD` or logits out; independent of data loading and Lightning."""
