"""The register kernels: products, Winograd transforms, rows, Adam."""
