"""The pages, made with NiceGUI: each shows what a read model says, and its buttons call actions, nothing else."""
