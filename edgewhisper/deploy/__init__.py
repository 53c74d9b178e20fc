"""From the build host to the device."""
