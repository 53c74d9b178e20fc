"""Messages to systemd, as sd_notify(3) describes them: datagrams of `NAME=value` lines to the socket that the environment names."""

import os
import socket

_MICROSECONDS = 1e-6
_PATIENCE = 1.0  # seconds for a message to be taken


class Notifier:
    """Tells systemd how the service is; says nothing where no systemd asked for it."""

    def __init__(self) -> None:
        """Take the socket's name and the watchdog's time from the environment."""
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # Linux's abstract sockets, which begin with a null byte
            self._address = "\0" + self._address[1:]

    def send(self, **values: str | int) -> None:
        """Send one message, such as `READY=1`; systemd that does not take it is no reason to stop."""
        if not self._address:
            return
        message = "\n".join(f"{name}={value}" for name, value in values.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_PATIENCE)
                # Connected, as only then the kernel says when there is room again, where systemd is slow to read.
                sender.connect(self._address)
                sender.send(message.encode())
        except OSError:
            pass

    @property
    def watchdog_seconds(self) -> float | None:
        """How often systemd wants to hear `WATCHDOG=1` of this process, or restarts it; None: not at all."""
        here = str(os.getpid())
        if not self._address or os.environ.get("WATCHDOG_PID", here) != here:
            return None
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        return (int(microseconds) * _MICROSECONDS or None) if microseconds.isdecimal() else None
