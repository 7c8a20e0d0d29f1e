"""Environment variables of each worker, which the libraries that compute read once.

The driver reads this without torch.
"""

WORKER_SETTINGS = {
    # glibc otherwise gives each large activation back to the system and faults it in again at the next step:
    # 1.04-1.12 times the images/s of ResNet-20 at batch 128, 1.26 of ResNet-18 at 512.
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS repeats its results only with a fixed workspace
}
