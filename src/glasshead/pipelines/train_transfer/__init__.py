"""Fine-tune a pretrained network, which the run may pretrain first, and compare strategies."""
