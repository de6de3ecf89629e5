"""Take from this process all that decoding one open file does not need.

Resource limits hold everywhere. On Linux, landlock takes away every path, and seccomp all system calls but those of a
list (x86-64 and ARM64), both called by ctypes: landlock(7), seccomp(2). What the kernel lacks, ``lacking`` names.
"""

import ctypes
import errno
import mmap
import os
import platform
import resource
import signal
import struct
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the decoding of one file may take."""

    memory_gib: float = 4.0
    """Memory of the decoder beyond what it started with, in GiB; also the longest sound that it may give."""
    stall_s: float = 8.0
    """Seconds without a new frame, piece of sound, or byte read."""
    cpu_s: float = 60.0
    """Seconds of processor time, and one more per ``BYTES_PER_CPU_S`` of the file."""
    frames: int = 24 * 3600 * 25
    """Output frames: a day."""
    pixels: int = 2**27
    """Pixels of a picture."""
    streams: int = 200
    """Streams of a file."""

    def __post_init__(self) -> None:
        if wrong := [f"{name}={value}" for name, value in vars(self).items() if not 0 < value < float("inf")]:
            raise ValueError(f"{', '.join(wrong)} came, wanted numbers above 0")


BYTES_PER_CPU_S = 10_000
"""An hour of slides at 20 kbit/s decodes in a tenth of this time."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ALLOWED = {  # name: (number on x86-64, on ARM64); None where the call does not exist
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "poll": (7, None), "lseek": (8, 62),
    "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66), "select": (23, None),
    "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "nanosleep": (35, 101), "getpid": (39, 172),
    "sendto": (44, 206), "recvfrom": (45, 207), "exit": (60, 93), "uname": (63, 160), "gettimeofday": (96, 169),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getppid": (110, 173), "sigaltstack": (131, 132),
    "gettid": (186, 178), "time": (201, None), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "exit_group": (231, 94), "pselect6": (270, 72), "ppoll": (271, 73),
    "set_robust_list": (273, 99), "getrandom": (318, 278), "membarrier": (324, 283), "rseq": (334, 293),
}  # fmt: skip
_NOT_TO_EXECUTE = {"mmap": (9, 222), "mprotect": (10, 226)}
_OPENING = {"open": (2, None), "creat": (85, None), "openat": (257, 56), "openat2": (437, 437)}
_DEADLY = {
    "socket": (41, 198), "connect": (42, 203), "sendmsg": (46, 211), "fork": (57, None), "vfork": (58, None),
    "execve": (59, 221), "kill": (62, 129), "ptrace": (101, 117), "mount": (165, 40), "tkill": (200, 130),
    "keyctl": (250, 219), "unshare": (272, 97), "perf_event_open": (298, 241), "setns": (308, 268),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "bpf": (321, 280), "execveat": (322, 281),
    "userfaultfd": (323, 282), "pidfd_send_signal": (424, 424), "io_uring_setup": (425, 425), "pidfd_open": (434, 434),
}  # fmt: skip
"""Calls that no decoder makes by mistake; they end the process. All others that are not allowed fail with EPERM."""
_CLONE, _CLONE3, _TGKILL = (56, 220), (435, 435), (234, 131)
_CLONE_THREAD = 0x10000

_KILL, _ALLOW, _FAIL = 0x80000000, 0x7FFF0000, 0x00050000  # SECCOMP_RET_KILL_PROCESS, _ALLOW, _ERRNO
_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # codes of classic BPF
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; arguments have 8 bytes each, low half first

_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_PR_SET_PDEATHSIG, _PR_GET_SECCOMP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 21, 22, 38

_libc = ctypes.CDLL(None, use_errno=True)


def lacking() -> list[str]:
    """Return what of the confinement this system does not have."""
    missing = []
    if _landlock_version() < 1:
        missing.append("landlock (Linux 5.13)")
    if not _has_seccomp():
        missing.append("seccomp filters on x86-64 or ARM64")
    return missing


def die_with(parent: int) -> None:
    """End this process with the process ``parent``, where the kernel can; with it gone already, at once."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def confine(limits: Limits, file_bytes: int) -> None:
    """Confine this process for good; what it holds open it may still read and write."""
    wanted = _resources(limits, file_bytes)
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        if (version := _landlock_version()) >= 1:
            _forbid_paths(version)
    for kind, (soft, hard) in wanted.items():  # now nothing more is opened, not even landlock's rules
        resource.setrlimit(kind, (soft, hard))
    if _has_seccomp():
        _filter_calls()


def cpu_limit(limits: Limits, file_bytes: int) -> int:
    """Return the seconds of processor time that a file of this size may take."""
    return int(limits.cpu_s + file_bytes / BYTES_PER_CPU_S) + 1


def _resources(limits: Limits, file_bytes: int) -> dict[int, tuple[int, int]]:
    """Return soft and hard limits by resource, none above what this process has."""
    none = (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE)
    wanted = dict.fromkeys(none, 0) | {resource.RLIMIT_CPU: cpu_limit(limits, file_bytes)}
    if sys.platform == "linux":
        wanted[resource.RLIMIT_AS] = _mapped_bytes() + int(limits.memory_gib * 2**30)
    pairs = {}
    for kind, soft in wanted.items():
        above = soft + (kind == resource.RLIMIT_CPU)  # at the hard limit of time comes SIGKILL, which names nothing
        given = resource.getrlimit(kind)[1]
        pairs[kind] = (soft, above) if given == resource.RLIM_INFINITY else (min(soft, given), min(above, given))
    return pairs


def _mapped_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            return int(file.read().split()[0]) * mmap.PAGESIZE
    except OSError:  # a system without /proc
        return 2**30


def _prctl(option: int, value: int, more: object = None) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), more, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _landlock_version() -> int:
    if sys.platform != "linux":
        return 0
    return _libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)  # -1 without landlock


def _forbid_paths(version: int) -> None:
    """Handle every right of this version of landlock, and grant none."""
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    network, scopes = 0b11, 0b11  # bind and connect by TCP; abstract sockets and signals outside
    rights = struct.pack("=QQQ", files, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _libc.syscall(_LANDLOCK_CREATE, rights, ctypes.c_size_t(len(rights)), 0)
    if rules < 0 or _libc.syscall(_LANDLOCK_RESTRICT, rules, 0) != 0:
        raise OSError(ctypes.get_errno(), f"landlock: {os.strerror(ctypes.get_errno())}")
    os.close(rules)


def _has_seccomp() -> bool:
    known = sys.platform == "linux" and sys.byteorder == "little" and platform.machine() in _AUDIT_ARCH
    return known and _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) == 0


def _filter_calls() -> None:
    """Install the filter, one instruction after another: the first that knows the call decides."""
    machine = platform.machine()
    program = _rules(("x86_64", "aarch64").index(machine), _AUDIT_ARCH[machine], os.getpid())
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    filters = Program(len(program), ctypes.addressof(code))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.byref(filters))


def _rules(column: int, arch: int, pid: int) -> list[tuple[int, int, int, int]]:
    """Return BPF instructions (code, steps over if true, if false, constant)."""

    def on(call: tuple[int | None, ...], *then: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
        number = call[column]
        return [] if number is None else [(_EQUAL, 0, len(then), number), *then]

    kill, allow, deny = ((_RETURN, 0, 0, value) for value in (_KILL, _ALLOW, _FAIL | errno.EPERM))
    closed, unknown = ((_RETURN, 0, 0, _FAIL | code) for code in (errno.EACCES, errno.ENOSYS))
    rules = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), kill, (_LOAD, 0, 0, _NUMBER)]
    if column == 0:
        rules += [(_ABOVE, 0, 1, 0x40000000), kill]  # calls of the x32 interface have other numbers
    for calls, then in ((_ALLOWED, allow), (_OPENING, closed), (_DEADLY, kill)):
        for call in calls.values():
            rules += on(call, then)
    for call in _NOT_TO_EXECUTE.values():
        rules += on(call, (_LOAD, 0, 0, _ARGUMENT + 2 * 8), (_ANY_BIT, 0, 1, mmap.PROT_EXEC), deny, allow)
    rules += on(_TGKILL, (_LOAD, 0, 0, _ARGUMENT), (_EQUAL, 1, 0, pid), kill, allow)  # abort() signals itself
    rules += on(_CLONE, (_LOAD, 0, 0, _ARGUMENT), (_ANY_BIT, 1, 0, _CLONE_THREAD), kill, deny)
    return [*rules, *on(_CLONE3, unknown), deny]  # without clone3 the C library calls clone
