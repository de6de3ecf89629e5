"""Networks: tensors of a batch in, `memory_BTD` or logits out; they know neither data nor Lightning."""
