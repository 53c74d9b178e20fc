"""A command under the limits of a unit that need no systemd: its filters of system calls, put together by libseccomp as systemd does.

As a script: `python unit_limits.py COMMAND...` with the settings as JSON in the environment variable UNIT_SETTINGS.
"""

import ctypes
import errno
import json
import mmap
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Settings = Mapping[str, Sequence[str]]

LIBRARY = "libseccomp.so.2"
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NOT_EQUAL, _EQUAL, _GREATER, _MASKED_EQUAL = 1, 4, 6, 7
_CLONE_NEW = (0x00000080, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
_SET_IDS = (0o4000, 0o2000)
_SHM_EXEC = 0o100000
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
_ALL_FAMILIES = range(46)
_NO_NEW_PRIVILEGES, _DROP_CAPABILITY, _CAPABILITIES = 38, 24, range(64)


def settings_of(*units: Path) -> Settings:
    """What the lines of a unit and its drop-ins set, in their order; an empty value takes back those before it."""
    found: dict[str, list[str]] = {}
    for unit in units:
        for name, value in re.findall(r"^([A-Z]\w*)=(.*)$", unit.read_text(), re.MULTILINE):
            found[name] = [*found.get(name, []), value] if value else []
    return found


def allowed_calls(filters: Iterable[str]) -> set[str]:
    """The system calls that lines of SystemCallFilter= leave, of which the first is a list of what is allowed."""
    allowed: set[str] = set()
    for line in filters:
        names = _calls(line.removeprefix("~").split())
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed | _calls(["@default"])


def _calls(names: Iterable[str]) -> set[str]:
    found = set()
    for name in names:
        if name.startswith("@"):
            listed = subprocess.run(
                ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
            ).stdout
            lines = (line.strip() for line in listed.splitlines()[1:])
            found |= _calls(line for line in lines if line and not line.startswith("#"))
        else:
            found.add(name)
    return found


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask_or_value", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


class _Filter:
    """One of the filters that a process is given; of several, the strictest counts."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, call: str, *comparisons: tuple[int, int, int, int]) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # not on this architecture
            return
        array = (_Comparison * max(1, len(comparisons)))(*(_Comparison(*each) for each in comparisons))
        done = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, ctypes.c_uint(len(comparisons)), array
        )
        if done != 0:
            raise OSError(-done, f"seccomp_rule_add_array: {call}")

    def load(self) -> None:
        done = self._library.seccomp_load(self._context)
        if done != 0:
            raise OSError(-done, "seccomp_load")


def _restrict(settings: Settings, allowed: Iterable[str]) -> None:
    """From now on, this process is under the unit's limits."""
    library = ctypes.CDLL(None, use_errno=True)
    for capability in _CAPABILITIES:
        library.prctl(_DROP_CAPABILITY, capability, 0, 0, 0)
    if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")

    denied = _Filter(_ALLOW)
    refuse = _ERRNO | errno.EPERM
    if settings["MemoryDenyWriteExecute"] == ["yes"]:
        both = mmap.PROT_WRITE | mmap.PROT_EXEC
        denied.add(refuse, "mmap", (2, _MASKED_EQUAL, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            denied.add(refuse, call, (2, _MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
        denied.add(refuse, "shmat", (2, _MASKED_EQUAL, _SHM_EXEC, _SHM_EXEC))
    if settings["RestrictNamespaces"] == ["yes"]:
        for flag in _CLONE_NEW:
            denied.add(refuse, "clone", (0, _MASKED_EQUAL, flag, flag))
        denied.add(_ERRNO | errno.ENOSYS, "clone3")
        for call in ("unshare", "setns"):
            denied.add(refuse, call)
    if settings["RestrictRealtime"] == ["yes"]:
        for policy in (1, 2, 6):  # FIFO, round robin, deadline
            denied.add(refuse, "sched_setscheduler", (1, _EQUAL, policy, 0))
    if settings["RestrictSUIDSGID"] == ["yes"]:
        for bit in _SET_IDS:
            for call, argument in {"chmod": 1, "fchmod": 1, "fchmodat": 2, "mkdir": 1, "mkdirat": 2}.items():
                denied.add(refuse, call, (argument, _MASKED_EQUAL, bit, bit))
            denied.add(
                refuse, "open", (1, _MASKED_EQUAL, os.O_CREAT, os.O_CREAT), (2, _MASKED_EQUAL, bit, bit)
            )
            denied.add(
                refuse, "openat", (2, _MASKED_EQUAL, os.O_CREAT, os.O_CREAT), (3, _MASKED_EQUAL, bit, bit)
            )
        denied.add(_ERRNO | errno.ENOSYS, "openat2")
    if settings["LockPersonality"] == ["yes"]:
        denied.add(refuse, "personality", (0, _NOT_EQUAL, 0, 0))
    names = " ".join(settings["RestrictAddressFamilies"]).split()
    families = {_FAMILIES[name] for name in names}
    unsupported = _ERRNO | errno.EAFNOSUPPORT
    for family in set(_ALL_FAMILIES) - families:
        denied.add(unsupported, "socket", (0, _EQUAL, family, 0))
    denied.add(unsupported, "socket", (0, _GREATER, _ALL_FAMILIES[-1], 0))
    denied.load()

    (name,) = settings["SystemCallErrorNumber"]
    left = _Filter(_ERRNO | getattr(errno, name))
    for call in allowed:
        left.add(_ALLOW, call)
    left.load()


def limited(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """Words to be put before a command, and what its environment needs, for it to be under these limits."""
    stated = {"settings": dict(settings), "allowed": sorted(allowed_calls(settings["SystemCallFilter"]))}
    return [sys.executable, __file__], {"UNIT_SETTINGS": json.dumps(stated)}


def is_possible() -> bool:
    """Whether this machine has what it takes."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return shutil.which("systemd-analyze") is not None


if __name__ == "__main__":
    given = json.loads(os.environ.pop("UNIT_SETTINGS"))
    _restrict(given["settings"], given["allowed"])
    os.execvp(sys.argv[1], sys.argv[1:])
