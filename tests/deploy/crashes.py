"""A process that ends as one does on a processor which lacks an instruction."""

import ctypes
import mmap
import platform

import pytest

# The instruction that each architecture keeps undefined for ever.
_UNDEFINED = {"x86_64": b"\x0f\x0b", "aarch64": b"\x00\x00\x00\x00"}

needs_illegal_instruction = pytest.mark.skipif(
    platform.machine() not in _UNDEFINED, reason="no instruction is known to be undefined here"
)


def illegal_instruction() -> None:
    """Execute it; does not return."""
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(_UNDEFINED[platform.machine()])
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    ctypes.CFUNCTYPE(None)(address)()
