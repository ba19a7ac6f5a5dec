"""What every kernel needs: compiled by NVRTC, kept on disk, loaded by the driver, launched."""
