"""Fine-tune a pretrained network, which the run can pretrain itself, and compare fine-tuning strategies."""
