"""inotify through ctypes: what happens to the files of a folder, as it happens."""
import ctypes
import os
import select
import struct

CREATE, MODIFY, MOVED_FROM, MOVED_TO = 0x100, 0x2, 0x40, 0x80
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Events of the folders given, until closed."""

    def __init__(self, *folders, mask=CREATE | MOVED_FROM | MOVED_TO):
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        for folder in folders:
            if _libc.inotify_add_watch(self.fd, os.fsencode(folder), mask) < 0:
                raise OSError(ctypes.get_errno(), f"inotify_add_watch {folder}")

    def names(self, timeout):
        """(mask, name) of what happened, waiting up to `timeout` seconds for a first event."""
        if not select.select([self.fd], [], [], timeout)[0]:
            return []
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return []
        events, at = [], 0
        while at < len(data):
            _, mask, _, size = struct.unpack_from("iIII", data, at)
            events.append((mask, data[at + 16:at + 16 + size].rstrip(b"\0").decode()))
            at += 16 + size
        return events

    def close(self):
        os.close(self.fd)
